#include "opscore/base/random.h"

#include <sys/random.h>

#include <cerrno>

#include "opscore/base/error.h"

namespace opscore {
namespace {

void fill(void* data, size_t size) {
  auto* out = static_cast<char*>(data);
  while (size > 0) {
    ssize_t got = ::getrandom(out, size, 0);
    if (got < 0 && errno == EINTR) continue;
    OPSCORE_ASSERT(got > 0, "getrandom failed");
    out += got;
    size -= static_cast<size_t>(got);
  }
}

}  // namespace

uint64_t SystemRandom::next() {
  uint64_t value;
  fill(&value, sizeof value);
  return value;
}

std::string random_bytes(size_t bytes) {
  std::string out(bytes, '\0');
  fill(out.data(), bytes);
  return out;
}

}  // namespace opscore
