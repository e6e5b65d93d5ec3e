#pragma once
// What this process and a Python child say to each other over their socket. Pure.
//
//   stream  = *frame
//   frame   = length payload            length: of the payload, 4 bytes, little-endian, <= 64 MiB
//   payload = "[" item *("," item) "]"  JSON; items of several tasks share a frame
//
//   to the child:
//   item = ["run", number, type, id, attempt, charged, budget, timeout_ms, input, metadata]
//        | ["stop", number, why]        why: "timeout", "cancelled", "draining"
//        | ["back", number]             give it back unless it is entered
//        | ["step", call, kind, answer] kind: "run" (then without answer), "recorded", "mismatch",
//                                       "refused", "failed"
//   from the child:
//   item = ["hello", {version, python, actors, surroundings}]  once it can run tasks
//        | ["importing", module, ms, stack]                   it still cannot, and what it is at
//        | ["refused", words, trace]                          it never will; it ends then
//        | ["log", number, level, line]                       level: as in the log
//        | ["progress", number, json]
//        | ["step", number, call, kind, name, request]        does the journal have it? Of the kind
//                                                             "submit": if not, do it
//        | ["did", number, call, kind, name, request, answer, ms]
//        | ["done", number, began, left, result]              ns of CLOCK_MONOTONIC
//        | ["fail", number, began, left, kind, message, detail, retryable, delay_ms | null]
//        | ["snooze", number, began, left, delay_ms, why]
//        | ["dropped", number]
//
// charged, budget: of attempts that count; 0: there is no limit.
// Input, metadata and results are the bytes that were submitted and stored. Beside the socket a
// child shares memory with its parent, see slot_cells.h.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "opscore/actor/children.h"

namespace opscore {

std::string run_frame(const std::vector<HostedTask>& tasks);
std::string stop_frame(uint64_t number, HostedStop why);
std::string take_back_frame(uint64_t number);
std::string step_frame(uint64_t call, const StepReply& reply);

struct ChildSpeech {
  struct Importing {
    std::string module;
    Duration since{0};
    std::string stack;
  };
  struct Refused {
    std::string words;
    std::string trace;
  };
  std::optional<std::string> hello;  // JSON
  std::optional<Importing> importing;
  std::optional<Refused> refused;
  ChildNews news;
};
// Throws Error when it is not as above: then the child cannot be trusted with tasks.
ChildSpeech parse_speech(std::string_view payload);

// Cuts a stream into payloads. Not thread-safe.
class FrameReader {
 public:
  void feed(std::string_view bytes) { buffer_.append(bytes); }
  // The next whole payload, valid until the next feed(). Throws Error{too_large}.
  std::optional<std::string_view> next();

 private:
  std::string buffer_;
  size_t done_ = 0;
};

}  // namespace opscore
