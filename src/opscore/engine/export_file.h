#pragma once
// The file of an export, written in pieces: what is behind the length that a job has on record was
// written by a slice that did not get through, and goes first. One thread.

#include <cstdint>
#include <string>

namespace opscore {

class ExportFile {
 public:
  // Makes folder and file when `length` is 0. Throws Error: disk_low (fewer than `reserve_bytes`
  // would stay free), unavailable (not retryable: the file is gone, shorter, or cannot be written).
  ExportFile(std::string path, int64_t length, int64_t reserve_bytes);
  ~ExportFile();
  ExportFile(const ExportFile&) = delete;

  void append(const std::string& bytes);
  // Returns when all of it is on disk: the length.
  int64_t sync();

 private:
  void flush();
  [[noreturn]] void fail(const char* doing) const;

  const std::string path_;
  int fd_ = -1;
  int64_t length_;
  std::string unwritten_;
};

// Nothing happens when it is not there.
void remove_file(const std::string& path);

}  // namespace opscore
