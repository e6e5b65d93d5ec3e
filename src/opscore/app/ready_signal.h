#pragma once
// Tells whoever started this process, once, that it takes work: by a line on a file descriptor that
// they passed, and by a file that holds the process id for as long as it takes work. What systemd
// is told is in systemd.h.

#include <atomic>
#include <optional>
#include <string>

namespace opscore {

class ReadySignal {
 public:
  // `fd` is taken over, and not inherited by programs. A file of that name is removed: it is from
  // an earlier process. Throws Error{invalid} when nothing can be written there.
  ReadySignal(std::optional<int> fd, std::string file);
  ~ReadySignal();
  ReadySignal(const ReadySignal&) = delete;

  // Throws nothing: why it could not be said, else empty.
  std::string ready();
  // No longer: the file goes.
  void over();
  // Another process says it: gives up the descriptor, so that who reads sees its end.
  void leave_to_child();

 private:
  std::string write_file() const;

  std::atomic<int> fd_;
  const std::string file_;
  std::atomic<bool> said_{false};
};

}  // namespace opscore
