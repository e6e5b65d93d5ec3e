#pragma once
// The one key of a task and its public form.
//
//   key  = 43 bits unix ms | 12 bits sequence | 8 bits node          (63 bits, positive)
//   uuid = 48 bits ms | 4 bits version 7 | 12 bits sequence | 2 bits variant
//          | 8 bits node | 54 bits SipHash of the key under the installation's secret   (RFC 9562)
//
// The key is row key, order and cursor. The uuid is computed from it and back, so there is no uuid
// index, ids cannot be guessed, and a forged or mistyped one is refused without a read.

#include <algorithm>
#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "opscore/base/hash.h"
#include "opscore/base/time.h"

namespace opscore {

struct TaskKey {
  int64_t value = 0;
  auto operator<=>(const TaskKey&) const = default;
  TimePoint created_at() const { return from_ms(value >> 20); }
  // The smallest key that could be made at `at`; for "created since" filters. A time that no key
  // can have (before 1970, after 2248) gives the nearest one.
  static TaskKey first_at(TimePoint at) {
    constexpr int64_t kMsMax = (int64_t{1} << 43) - 1;
    return TaskKey{std::clamp<int64_t>(to_ms(at), 0, kMsMax) << 20};
  }
};

// Makes strictly growing keys, also when the clock stands still or steps back. Not thread-safe: it
// belongs to whoever holds the write side of a store.
class KeyMaker {
 public:
  KeyMaker(uint8_t node, TaskKey last) : node_(node), last_(last) {}
  TaskKey next(TimePoint now);

 private:
  uint8_t node_;
  TaskKey last_;
};

// Immutable, hence safe for concurrent use.
class IdCodec {
 public:
  explicit IdCodec(const SipKey& secret) : secret_(secret) {}
  // "task_018f6f2e-7c1a-7abc-8def-0123456789ab"
  std::string encode(TaskKey key) const;
  // Nothing when the text is not an id that this installation made.
  std::optional<TaskKey> decode(std::string_view id) const;

 private:
  SipKey secret_;
};

}  // namespace opscore

template <>
struct std::hash<opscore::TaskKey> {
  size_t operator()(opscore::TaskKey key) const noexcept {
    // Keys of one millisecond differ in few bits: spread them (splitmix64's finaliser).
    auto x = static_cast<uint64_t>(key.value);
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
  }
};
