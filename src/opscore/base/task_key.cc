#include "opscore/base/task_key.h"

#include <algorithm>

namespace opscore {
namespace {

constexpr std::string_view kPrefix = "task_";
constexpr uint64_t kHashMask = (uint64_t{1} << 54) - 1;

void put_hex(char*& out, uint64_t bits, int digits) {
  for (int i = digits - 1; i >= 0; --i) *out++ = "0123456789abcdef"[(bits >> (4 * i)) & 15];
}

bool take_hex(const char*& in, int digits, uint64_t& bits) {
  bits = 0;
  for (int i = 0; i < digits; ++i) {
    char c = *in++;
    if (c >= '0' && c <= '9')
      bits = bits << 4 | static_cast<uint64_t>(c - '0');
    else if (c >= 'a' && c <= 'f')
      bits = bits << 4 | static_cast<uint64_t>(c - 'a' + 10);
    else
      return false;
  }
  return true;
}

bool take_dash(const char*& in) {
  return *in++ == '-';
}

}  // namespace

TaskKey KeyMaker::next(TimePoint now) {
  int64_t slot = std::max(to_ms(now) << 12, (last_.value >> 8) + 1);
  last_ = TaskKey{slot << 8 | node_};
  return last_;
}

std::string IdCodec::encode(TaskKey key) const {
  auto bits = static_cast<uint64_t>(key.value);
  uint64_t ms = bits >> 20, sequence = bits >> 8 & 0xfff, node = bits & 0xff;
  uint64_t tail = uint64_t{2} << 62 | node << 54 | (siphash(secret_, bits) & kHashMask);
  std::string id(kPrefix.size() + 36, '-');
  std::copy(kPrefix.begin(), kPrefix.end(), id.begin());
  char* out = id.data() + kPrefix.size();
  put_hex(out, ms >> 16, 8), ++out;
  put_hex(out, ms & 0xffff, 4), ++out;
  put_hex(out, 0x7000 | sequence, 4), ++out;
  put_hex(out, tail >> 48, 4), ++out;
  put_hex(out, tail & 0xffff'ffff'ffff, 12);
  return id;
}

std::optional<TaskKey> IdCodec::decode(std::string_view id) const {
  if (id.size() != kPrefix.size() + 36 || !id.starts_with(kPrefix)) return std::nullopt;
  const char* in = id.data() + kPrefix.size();
  uint64_t high, middle, version, variant, low;
  if (!take_hex(in, 8, high) || !take_dash(in) || !take_hex(in, 4, middle) || !take_dash(in) ||
      !take_hex(in, 4, version) || !take_dash(in) || !take_hex(in, 4, variant) || !take_dash(in) ||
      !take_hex(in, 12, low))
    return std::nullopt;
  uint64_t ms = high << 16 | middle, tail = variant << 48 | low;
  if (version >> 12 != 7 || tail >> 62 != 2 || ms >> 43 != 0) return std::nullopt;
  uint64_t bits = ms << 20 | (version & 0xfff) << 8 | (tail >> 54 & 0xff);
  if ((siphash(secret_, bits) & kHashMask) != (tail & kHashMask)) return std::nullopt;
  return TaskKey{static_cast<int64_t>(bits)};
}

}  // namespace opscore
