#pragma once
// The right to write a data file: an flock on FILE.lock, which holds the pid of the holder. FILE is
// what a symbolic link leads to. It is inherited over fork (the supervisor takes it, its worker
// keeps it) but not over exec, and ends with the last process that has it.

#include <string>

namespace opscore {

class DataLock {
 public:
  // Throws Error{conflict} that names the holder's pid; Error{unavailable} when the folder cannot
  // be written.
  explicit DataLock(const std::string& data_file);
  ~DataLock();
  DataLock(const DataLock&) = delete;

 private:
  int fd_;
};

}  // namespace opscore
