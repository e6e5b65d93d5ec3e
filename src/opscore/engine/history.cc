#include "opscore/engine/history.h"

#include <fmt/format.h>

#include <algorithm>

#include "opscore/base/json.h"
#include "opscore/model/adoption.h"
#include "opscore/model/decide.h"
#include "opscore/model/event.h"
#include "opscore/model/handover.h"

namespace opscore {
namespace {

bool is_retry(const TaskEvent& event) {
  return event.kind == event_kind::kRetried || event.kind == event_kind::kEditedRetry;
}

bool is_end(const TaskEvent& event) {
  const auto state = state_from(event.kind);
  return state && is_terminal(*state);
}

// Of what is told of an end, afterwards.
bool is_of_telling(const TaskEvent& event) {
  return event.kind.starts_with("webhook_") || event.kind == event_kind::kCallbackWarning;
}

// What is written while an attempt runs; everything else about one is written with its end.
bool is_of_running(const TaskEvent& event) {
  return event.kind == event_kind::kCancelRequested || event.kind == event_kind::kPickedUp;
}

// From the submit, or a retry, to the end that follows it.
struct Round {
  std::vector<TaskEvent> implied;
  std::vector<TaskEvent> stored;
  std::optional<TaskEvent> end;
  std::optional<TaskEvent> retry;  // that begins the next round
  bool first = false;
};

std::vector<Round> rounds_of(const std::vector<TaskEvent>& stored) {
  std::vector<Round> rounds(1);
  rounds.front().first = true;
  for (const TaskEvent& event : stored) {
    if (is_retry(event)) {
      rounds.back().retry = event;
      rounds.emplace_back();
    } else if (is_end(event)) {
      rounds.back().end = event;
    } else {
      rounds.back().stored.push_back(event);
    }
  }
  return rounds;
}

void add_attempts(std::vector<Round>& rounds, const std::vector<Attempt>& attempts) {
  auto round = rounds.begin();
  for (const Attempt& attempt : attempts) {
    while (round->retry && round->retry->attempt < attempt.number) ++round;
    if (attempt.started_at)
      round->implied.push_back({0, *attempt.started_at, "started", attempt.number, {}});
    if (attempt.end && attempt.ended_at)
      round->implied.push_back({0, *attempt.ended_at,
                                "attempt_" + std::string(to_string(*attempt.end)), attempt.number,
                                event_data(attempt.error)});
  }
}

// When the attempt that runs started is not known yet: its "started" will come before these.
void withhold(Round& last, const std::vector<Attempt>& attempts) {
  if (attempts.empty() || attempts.back().end || attempts.back().started_at) return;
  const Attempt& running = attempts.back();
  std::erase_if(last.stored, [&](const TaskEvent& event) {
    return event.attempt == running.number || event.at >= running.claimed_at;
  });
}

// Whether `implied` had happened, of the same round, when `stored` was written.
bool precedes(const TaskEvent& implied, const TaskEvent& stored, const Round& round) {
  // A call may still be about the end of an earlier round; only its time says when it was made.
  if (is_of_telling(stored)) return round.first || implied.at <= stored.at;
  if (implied.attempt != stored.attempt) return implied.attempt < stored.attempt;
  if (is_end(implied)) return false;
  return implied.kind == "started" || !is_of_running(stored);
}

void append(std::vector<TaskEvent>& out, Round& round) {
  if (round.end) round.implied.push_back(*round.end);
  auto next = round.stored.begin();
  for (TaskEvent& implied : round.implied) {
    while (next != round.stored.end() && !precedes(implied, *next, round))
      out.push_back(std::move(*next++));
    out.push_back(std::move(implied));
  }
  std::move(next, round.stored.end(), std::back_inserter(out));
  if (round.retry) out.push_back(*round.retry);
}

}  // namespace

std::vector<TaskEvent> history(const Task& task, const std::vector<Attempt>& attempts,
                               const std::vector<TaskEvent>& stored) {
  std::vector<Round> rounds = rounds_of(stored);
  add_attempts(rounds, attempts);
  withhold(rounds.back(), attempts);
  if (is_terminal(task.state()) && task.finished_at)
    rounds.back().end = end_event(task.state(), *task.finished_at, task.live.attempt, task.error);

  std::vector<TaskEvent> merged{{0, task.created_at(), "submitted", 0, {}}};
  if (task.options.adopted && !task.options.adopted->wanted_id.empty())
    merged.push_back(
        {0, task.created_at(), event_kind::kTaskIdTaken, 0,
         fmt::format(R"({{"wanted":{}}})", quote_json(task.options.adopted->wanted_id))});
  for (Round& round : rounds) append(merged, round);
  for (size_t i = 0; i < merged.size(); ++i) merged[i].number = static_cast<int>(i) + 1;
  return merged;
}

}  // namespace opscore
