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

std::string LateStore::why_not_open() const {
  MutexLock lock(mutex_);
  return "the store was not reached yet: " + why_;
}

Store& LateStore::refuse() const {
  throw Error(Errc::unavailable, why_not_open());
}

}  // namespace opscore
