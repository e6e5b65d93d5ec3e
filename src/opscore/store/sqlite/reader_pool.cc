#include "opscore/store/sqlite/reader_pool.h"

#include <algorithm>

namespace opscore::sqlite {

ReaderPool::ReaderPool(const std::string& path, OpenMode mode, Lanes& lanes, int size)
    : path_(path), mode_(mode), lanes_(lanes), unopened_(std::max(size, 1)) {}

std::unique_ptr<ReadSide> ReaderPool::take() {
  MutexLock lock(mutex_);
  returned_.wait(lock,
                 [this]() OPSCORE_REQUIRES(mutex_) { return !free_.empty() || unopened_ > 0; });
  if (!free_.empty()) {
    auto side = std::move(free_.back());
    free_.pop_back();
    return side;
  }
  --unopened_;
  lock.unlock();
  try {
    return std::make_unique<ReadSide>(path_, mode_, lanes_);
  } catch (const Error&) {
    lock.lock();
    ++unopened_;
    returned_.notify_one();
    throw;
  }
}

void ReaderPool::give_back(std::unique_ptr<ReadSide> side) {
  {
    MutexLock lock(mutex_);
    free_.push_back(std::move(side));
  }
  returned_.notify_one();
}

}  // namespace opscore::sqlite
