#pragma once
// A store that may still have to be reached: until open(), whoever asks it for anything is told
// Error{unavailable} with the reason, as by a store that has gone away since.

#include <atomic>
#include <memory>
#include <string>

#include "opscore/base/mutex.h"
#include "opscore/store/store.h"

namespace opscore {

// Safe for concurrent use. What it hands out stays valid for as long as it lives.
class LateStore final : public Store {
 public:
  // Once.
  void open(std::unique_ptr<Store> store);
  bool is_open() const { return open_.load(std::memory_order_acquire) != nullptr; }
  // Why it is not open yet, in words.
  void not_yet(std::string why);
  std::string why_not_open() const;

  TaskStore& tasks() override { return get().tasks(); }
  TaskReader& reader() override { return get().reader(); }
  Fleet& fleet() override { return get().fleet(); }
  Changes& changes() override { return get().changes(); }
  Outbox& outbox() override { return get().outbox(); }
  Jobs& jobs() override { return get().jobs(); }
  const IdCodec& ids() const override { return get().ids(); }
  const std::string& identity() const override { return get().identity(); }

 private:
  Store& get() const {
    Store* store = open_.load(std::memory_order_acquire);
    return store ? *store : refuse();
  }
  [[noreturn]] Store& refuse() const;

  std::unique_ptr<Store> store_;
  std::atomic<Store*> open_{nullptr};
  mutable Mutex mutex_;
  std::string why_ OPSCORE_GUARDED_BY(mutex_) = "it was not tried yet";
};

}  // namespace opscore
