#pragma once
// Writes a .tar.gz: POSIX ustar, compressed as gzip. In memory, since what it is for is small. Not
// thread-safe.

#include <string>
#include <string_view>

#include "opscore/base/time.h"

namespace opscore {

class TarGz {
 public:
  // `now` is the time of every file in it.
  explicit TarGz(TimePoint now) : now_(now) {}

  // A file; its name has at most 100 bytes.
  void add(std::string_view name, std::string_view content);
  // The archive, which is finished with that.
  std::string finish();

 private:
  const TimePoint now_;
  std::string tar_;
};

}  // namespace opscore
