#pragma once
// What the rows of a store in SQL say about a task.

#include "opscore/model/plan.h"
#include "opscore/model/task.h"

namespace opscore {

// A finished task, with its last attempt.
struct OutcomeRow {
  TaskKey key;
  State state = State::completed;
  int attempt = 0;
  int charged = 0;
  int edits = 0;
  std::optional<AttemptEnd> ended;  // nothing: no attempt was running
  bool ended_charged = false;
  SessionId session;
  TimePoint claimed_at{};
  TimePoint started_at{};
  TimePoint finished_at{};
  std::string result;
  ErrorInfo error;

  static OutcomeRow of(const Plan& plan);
  Attempt final_attempt() const;  // only with `ended`
};

// The parts of `task` that the row is about; `last`: the last attempt that ended before.
void fill_unfinished(Task& task, const Live& live, std::string progress,
                     const std::optional<Attempt>& last);
void fill_finished(Task& task, OutcomeRow row, const std::optional<Attempt>& last);

}  // namespace opscore
