#include "opscore/model/job.h"

#include <algorithm>
#include <array>

#include "opscore/model/stored_json.h"

namespace opscore {
namespace {

constexpr std::array<std::string_view, 4> kActions{"cancel", "retry", "delete", "export"};
constexpr std::array<std::string_view, 5> kStates{"pending", "running", "completed", "stopped",
                                                  "failed"};

}  // namespace

std::string_view to_string(JobAction action) {
  return kActions[static_cast<size_t>(action)];
}

std::optional<JobAction> job_action_from(std::string_view word) {
  for (size_t i = 0; i < kActions.size(); ++i)
    if (kActions[i] == word) return static_cast<JobAction>(i);
  return std::nullopt;
}

std::string_view to_string(JobState state) {
  return kStates[static_cast<size_t>(state)];
}

JobCounts& JobCounts::operator+=(const JobCounts& more) {
  examined += more.examined;
  matched += more.matched;
  done += more.done;
  for (const auto& [reason, count] : more.skipped) skipped[reason] += count;
  return *this;
}

double Job::progress() const {
  if (state == JobState::completed) return 1;
  if (cursor <= origin || bound <= origin) return 0;
  return static_cast<double>(cursor.value - origin.value) /
         static_cast<double>(bound.value - origin.value);
}

std::string encode_skipped(const std::map<std::string, int64_t>& skipped) {
  ObjectWriter out;
  for (const auto& [reason, count] : skipped) out.number(reason, count);
  return out.take();
}

std::map<std::string, int64_t> decode_skipped(std::string_view text) {
  std::map<std::string, int64_t> skipped;
  read_stored("job counts", text, [&](JsonReader& in, std::string_view reason) {
    skipped[std::string(reason)] = in.integer();
  });
  return skipped;
}

KeyRange keys_left(const Job& job) {
  KeyRange range = range_of(job.filter);
  range.first = std::max(range.first, TaskKey{job.cursor.value + 1});
  range.end = std::min(range.end, TaskKey{job.bound.value + 1});
  return range;
}

void move_on(Job& job, const JobSlice& slice, const JobCounts& acted, TimePoint now) {
  job.counts += acted;
  job.counts.examined += static_cast<int64_t>(slice.look.examined);
  job.counts.matched += static_cast<int64_t>(slice.look.found.size());
  job.bytes = slice.bytes;
  job.cursor = slice.look.cursor;
  if (!job.started_at) job.started_at = now;
  job.state = slice.look.ended ? JobState::completed : JobState::running;
  if (slice.look.ended) job.ended_at = now;
}

bool end_job(Job& job, JobState state, const std::string& error, TimePoint now) {
  if (is_ended(job.state)) return false;
  job.state = state;
  job.error = error;
  job.ended_at = now;
  return true;
}

bool can(JobAction action, State state) {
  switch (action) {
    case JobAction::cancel:
      return !successors(state, Event::cancel).empty();
    case JobAction::retry:
      return !successors(state, Event::retry).empty();
    case JobAction::remove:
      return !successors(state, Event::remove).empty();
    case JobAction::export_tasks:
      return true;
  }
  OPSCORE_ASSERT(false, "an action without a rule");
}

std::string_view why_skipped(const Job& job, State state, bool claimable) {
  if (!job.filter.states.has(state) || !can(job.action, state)) return to_string(state);
  const bool ends_it = job.action == JobAction::cancel || job.action == JobAction::remove;
  return ends_it && !claimable ? kSkippedHandedOver : std::string_view();
}

StateSet default_states(JobAction action) {
  if (action == JobAction::cancel)
    return StateSet(State::scheduled, State::waiting, State::pending, State::running);
  if (action == JobAction::retry) return StateSet(State::failed);
  return StateSet(State::scheduled, State::waiting, State::pending, State::running,
                  State::completed, State::failed, State::cancelled);
}

}  // namespace opscore
