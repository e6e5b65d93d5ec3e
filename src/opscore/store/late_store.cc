#include "opscore/store/late_store.h"

#include "opscore/base/error.h"

namespace opscore {

void LateStore::open(std::unique_ptr<Store> store) {
  OPSCORE_ASSERT(!is_open(), "a store is opened once");
  store_ = std::move(store);
  open_.store(store_.get(), std::memory_order_release);
}

void LateStore::not_yet(std::string why) {
  MutexLock lock(mutex_);
  why_ = std::move(why);
}

Store& LateStore::refuse() const {
  MutexLock lock(mutex_);
  throw Error(Errc::unavailable, "the store was not reached yet: " + why_);
}

}  // namespace opscore
