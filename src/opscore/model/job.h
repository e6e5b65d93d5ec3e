#pragma once
// Bulk jobs: one action on every task that a filter matches. A job walks the keys from its cursor
// to its bound, oldest first; the bound is the last task that existed when the job was made, so it
// ends. Plain data, and the decisions about it; pure.

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "opscore/model/task_filter.h"

namespace opscore {

// The numbers are stored: never change one.
enum class JobAction : uint8_t { cancel = 0, retry = 1, remove = 2, export_tasks = 3 };
std::string_view to_string(JobAction action);  // cancel, retry, delete, export
std::optional<JobAction> job_action_from(std::string_view word);

enum class JobState : uint8_t {
  pending = 0,  // made, not begun
  running = 1,
  completed = 2,  // looked at everything
  stopped = 3,    // by a person; what was done stays done
  failed = 4,     // cannot go on; what was done stays done
};
std::string_view to_string(JobState state);
constexpr bool is_ended(JobState state) {
  return state >= JobState::completed;
}

struct JobId {
  int64_t value = 0;
  auto operator<=>(const JobId&) const = default;
};

// matched = done + everything skipped. The reason of a skip is the state that the task was in, or
// one of the words below.
struct JobCounts {
  int64_t examined = 0;
  int64_t matched = 0;
  int64_t done = 0;
  std::map<std::string, int64_t> skipped;

  void skip(std::string_view reason) { ++skipped[std::string(reason)]; }
  JobCounts& operator+=(const JobCounts& more);
  bool operator==(const JobCounts&) const = default;
};
std::string encode_skipped(const std::map<std::string, int64_t>& skipped);
std::map<std::string, int64_t> decode_skipped(std::string_view text);

inline constexpr std::string_view kSkippedDeleted = "deleted";
inline constexpr std::string_view kSkippedHandedOver = "handed_to_dramatiq";

struct Job {
  JobId id;
  JobAction action = JobAction::cancel;
  TaskFilter filter;  // its states are never empty
  JobState state = JobState::pending;
  TaskKey origin;  // about where the first task is that it looks at; for progress only
  TaskKey bound;   // the last task it looks at
  TaskKey cursor;  // the last task it has looked at
  JobCounts counts;
  int64_t bytes = 0;  // of an export: how much of its file is complete
  TimePoint created_at{};
  std::optional<TimePoint> started_at;
  std::optional<TimePoint> ended_at;
  std::string error;  // why it failed, or was stopped other than by a request

  // How far it is on its way, 0 to 1; a guess from the times at which tasks were made.
  double progress() const;
};

// What was found behind a job's cursor: matching tasks with the state that each was in.
struct JobLook {
  std::vector<std::pair<TaskKey, State>> found;
  size_t examined = 0;
  TaskKey cursor;      // the last task that was looked at
  bool ended = false;  // there is nothing behind it
};

// Those of its tasks that it has not looked at.
KeyRange keys_left(const Job& job);

// One step of a job, from its cursor to that of `look`.
struct JobSlice {
  JobLook look;
  // For an export, which is written elsewhere: what was done with `look.found`, and how long the
  // file is now. The other actions are done by the store itself.
  JobCounts exported;
  int64_t bytes = 0;
};
// The job after a step: `acted` says what was done with `slice.look.found`.
void move_on(Job& job, const JobSlice& slice, const JobCounts& acted, TimePoint now);

// Ends it, unless it has ended: false.
bool end_job(Job& job, JobState state, const std::string& error, TimePoint now);

// Whether the action is possible in a state; where it is not, the task is skipped.
bool can(JobAction action, State state);
// Why a job leaves out a task that its filter has found, as its counts have it; empty: it does not.
std::string_view why_skipped(const Job& job, State state, bool claimable);
// The states that are meant where a filter names none: those of unfinished tasks for cancel, failed
// for retry, all others for the rest.
StateSet default_states(JobAction action);

}  // namespace opscore
