#pragma once
// The deliveries of one channel that wait for an answer, in delivery order. Pure. Decides which
// frames answer them: `multiple` is used over a prefix in which every delivery is answered, and
// nowhere else.

#include <cstdint>
#include <deque>
#include <span>
#include <vector>

namespace opscore {

struct AckFrame {
  uint64_t tag = 0;
  bool multiple = false;  // all up to this tag
  bool operator==(const AckFrame&) const = default;
};

class Unanswered {
 public:
  // Tags grow.
  void delivered(uint64_t tag);
  // Forgets the tags; says which frames to send. Unknown tags, and repeated ones, are ignored.
  std::vector<AckFrame> ack(std::span<const uint64_t> tags);
  // True once: when the tag was still unanswered.
  bool give_back(uint64_t tag);
  void clear() { deliveries_.clear(); }

 private:
  struct Entry {
    uint64_t tag;
    bool answered = false;
  };
  // Marks it; false when it is unknown or was answered before.
  bool answer(uint64_t tag);

  std::deque<Entry> deliveries_;  // begins with one that is not answered
};

}  // namespace opscore
