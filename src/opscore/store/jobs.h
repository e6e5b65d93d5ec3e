#pragma once
// Bulk jobs as rows of the store. Threads, durability and errors are those of store.h. A slice of
// work, its counts and the new cursor are one transaction: a job that is taken up again after a
// crash treats no task twice and leaves none out.

#include <optional>
#include <vector>

#include "opscore/model/job.h"

namespace opscore {

struct NewJob {
  JobAction action = JobAction::cancel;
  TaskFilter filter;  // with states
};

class Jobs {
 public:
  virtual ~Jobs() = default;

  // Sees the tasks that exist now.
  virtual Job create(const NewJob& job) = 0;
  virtual std::optional<Job> find(JobId id) = 0;
  // Newest first, at most `limit`.
  virtual std::vector<Job> list(size_t limit) = 0;
  // Those that have not ended, oldest first.
  virtual std::vector<Job> unfinished() = 0;
  // Reads on from the cursor of a job: ends after `most` matches, or after limits::kListWalk tasks.
  virtual JobLook look(const Job& job, size_t most) = 0;
  // Acts on what was found, decided anew for the state that each task is in by now, and moves the
  // cursor. Nothing happens when the job has ended or is not where `from` says; then and otherwise
  // the job as it is.
  virtual Job advance(const Job& from, const JobSlice& slice) = 0;
  // Ends a job that has not ended. The job as it is; nothing when there is none.
  virtual std::optional<Job> end(JobId id, JobState state, const std::string& error) = 0;
  // Deletes jobs that ended before. Which.
  virtual std::vector<JobId> forget(TimePoint ended_before) = 0;
};

}  // namespace opscore
