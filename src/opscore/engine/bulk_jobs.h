#pragma once
// Bulk jobs: cancel, retry, delete or export every task that a filter matches. A job is a row of
// the store that work() moves on, slice by slice, so it needs no slot, survives a crash and goes on
// from its cursor. Slices are kept short, so that submits and claims hardly notice. Safe for
// concurrent use. Throws Error; field() names what is wrong by its REST name.

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "opscore/base/log.h"
#include "opscore/store/store.h"

namespace opscore {

struct BulkJobsOptions {
  std::string exports;             // the folder for what is exported; empty: exports are refused
  int64_t disk_reserve_bytes = 0;  // an export fails rather than leave less than this free
  // Appends what an export says of a task: JSON without a line break.
  std::function<void(std::string& out, const Task& task)> write_task;
  std::function<void()> wake = [] {};  // a job waits for work()
};

struct JobRequest {
  JobAction action = JobAction::cancel;
  TaskFilter filter;  // without states: default_states() of the action
  bool all = false;   // an empty filter is meant
};

// What a job would do if it ran now.
struct JobEstimate {
  TaskFilter filter;
  JobCounts counts;
  bool exact = true;  // false: there may be more, kEstimateWalk tasks were looked at
};

class BulkJobs {
 public:
  static constexpr size_t kEstimateWalk = 100'000;

  // All must outlive it.
  BulkJobs(Store& store, const Clock& clock, Log& log, BulkJobsOptions options);

  // Throws invalid for an empty filter without `all`, unless tasks are only exported.
  Job start(JobRequest request);
  JobEstimate estimate(JobRequest request);
  Job get(std::string_view id);  // "job_12"; throws not_found
  std::vector<Job> list(size_t limit);
  Job stop(std::string_view id);  // throws conflict when it has ended
  // The file of a completed export. Throws conflict while there is none.
  std::string export_file(std::string_view id);

  // One slice of the unfinished job whose turn it is; false when there is none. One thread.
  bool work();
  // Works on a job for so long, beside work(), and answers how far it came.
  Job work_on(Job job, Deadline until);

  static std::string id_of(JobId id);

 private:
  JobRequest checked(JobRequest request) const;
  Job step(const Job& job);
  Job step_unguarded(const Job& job);
  void write_export(const Job& job, JobSlice& slice);
  std::string file_of(JobId id) const;
  Job fail(const Job& job, const Error& error);
  void forget_old();

  Store& store_;
  const Clock& clock_;
  Log& log_;
  const BulkJobsOptions options_;
  // Tasks in a slice, so that it takes as long as it should: of actions, and of exports.
  std::atomic<size_t> slice_tasks_[2];
  JobId last_;  // that work() was on
  SteadyPoint forget_at_{};
};

}  // namespace opscore
