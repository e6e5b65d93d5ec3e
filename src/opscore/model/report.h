#pragma once
// A task that is run outside is mirrored here: whoever runs it reports what becomes of its
// attempts, and these decisions make the record of it. Reports may be late, repeated, or missing;
// attempts have numbers, so each is about one of them. Pure.

#include <optional>
#include <string>
#include <vector>

#include "opscore/model/plan.h"

namespace opscore {

struct Report {
  enum class Kind : uint8_t {
    running,    // it began, or still runs
    completed,  // with a result
    retrying,   // it failed, and is tried again at `next_at`
    failed,     // for good
    skipped,    // was not run, and will not be
  } kind = Kind::running;
  int attempt = 1;                      // as Plan has it
  TimePoint at{};                       // when it happened
  std::optional<TimePoint> started_at;  // the attempt, when that is known
  std::string worker;                   // for people
  std::string result;                   // JSON, when completed
  ErrorInfo error;                      // when it failed
  TimePoint next_at{};
};

enum class Heard : uint8_t {
  news,     // the plans say what
  known,    // already on record
  too_old,  // a later attempt, or another end, is on record
};

struct Mirrored {
  Heard heard = Heard::known;
  std::vector<Plan> plans;  // one after the other, together
};

// The task is one that is run outside, whether it is finished or not.
Mirrored decide_report(const Task& task, const Report& report);

// Nobody has reported for long, and what the task was handed to does not have it any more.
Plan decide_outcome_unknown(const Task& task, const std::string& words, TimePoint now);

// `task` after `plan`, as far as a further report is decided from it.
void follow(Task& task, const Plan& plan);

}  // namespace opscore
