#pragma once
// A few connections for reading, borrowed one call at a time. Safe for concurrent use.

#include <memory>
#include <vector>

#include "opscore/base/mutex.h"
#include "opscore/store/sqlite/task_rows.h"

namespace opscore::sqlite {

struct ReadSide {
  ReadSide(const std::string& path, OpenMode mode, Lanes& lanes)
      : db(path, mode), queries(db, lanes) {}
  Connection db;
  TaskQueries queries;
};

class ReaderPool {
 public:
  ReaderPool(const std::string& path, OpenMode mode, Lanes& lanes, int size);

  // Gives the connection back when it goes. Everything read through it is one consistent view.
  class Borrowed {
   public:
    explicit Borrowed(ReaderPool& pool)
        : pool_(pool), side_(pool.take()), returning_{pool_, side_}, view_(side_->db) {}
    ReadSide* operator->() { return side_.get(); }
    ReadSide& operator*() { return *side_; }
    Borrowed(const Borrowed&) = delete;

   private:
    struct Return {
      ReaderPool& pool;
      std::unique_ptr<ReadSide>& side;
      ~Return() { pool.give_back(std::move(side)); }
    };
    ReaderPool& pool_;
    std::unique_ptr<ReadSide> side_;
    Return returning_;
    ReadTransaction view_;  // ends first
  };
  Borrowed borrow() { return Borrowed(*this); }

 private:
  std::unique_ptr<ReadSide> take();
  void give_back(std::unique_ptr<ReadSide> side);

  const std::string path_;
  const OpenMode mode_;
  Lanes& lanes_;
  Mutex mutex_;
  ConditionVariable returned_;
  std::vector<std::unique_ptr<ReadSide>> free_ OPSCORE_GUARDED_BY(mutex_);
  int unopened_ OPSCORE_GUARDED_BY(mutex_);
};

}  // namespace opscore::sqlite
