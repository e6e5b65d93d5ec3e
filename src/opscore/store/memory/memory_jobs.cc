#include <algorithm>

#include "opscore/model/decide.h"
#include "opscore/model/limits.h"
#include "opscore/store/memory/memory_state.h"

namespace opscore {
namespace {

void act(TaskTable& tasks, const Job& job, TaskKey key, TimePoint now, JobCounts& counts,
         Effects& effects) {
  const TaskRow* row = tasks.find(key);
  if (!row) return counts.skip(kSkippedDeleted);
  auto reason = why_skipped(job, row->live.state, row->live.claimable());
  if (!reason.empty()) return counts.skip(reason);
  ++counts.done;
  if (job.action == JobAction::remove) return tasks.erase(key, effects);
  Task task = row->task();
  auto plan = job.action == JobAction::cancel ? decide_cancel(task, now)
                                              : decide_retry(task, std::nullopt, now);
  tasks.apply(std::move(*plan), effects);
}

}  // namespace

Job MemoryJobs::create(const NewJob& wanted) {
  MutexLock lock(state_.mutex);
  Job job;
  job.id = JobId{++state_.last_job_id};
  job.action = wanted.action;
  job.filter = wanted.filter;
  job.created_at = state_.clock.now();
  auto& rows = state_.tasks.rows();
  job.origin = range_of(job.filter).first;
  if (!rows.empty()) job.origin = std::max(job.origin, rows.begin()->first);
  if (!rows.empty()) job.bound = rows.rbegin()->first;
  return state_.jobs[job.id] = job;
}

std::optional<Job> MemoryJobs::find(JobId id) {
  MutexLock lock(state_.mutex);
  auto found = state_.jobs.find(id);
  return found == state_.jobs.end() ? std::nullopt : std::optional(found->second);
}

std::vector<Job> MemoryJobs::list(size_t limit) {
  MutexLock lock(state_.mutex);
  std::vector<Job> listed;
  for (auto job = state_.jobs.rbegin(); job != state_.jobs.rend() && listed.size() < limit; ++job)
    listed.push_back(job->second);
  return listed;
}

std::vector<Job> MemoryJobs::unfinished() {
  MutexLock lock(state_.mutex);
  std::vector<Job> listed;
  for (const auto& [id, job] : state_.jobs)
    if (!is_ended(job.state)) listed.push_back(job);
  return listed;
}

JobLook MemoryJobs::look(const Job& job, size_t most) {
  MutexLock lock(state_.mutex);
  JobLook look;
  look.cursor = job.cursor;
  KeyRange range = keys_left(job);
  auto& rows = state_.tasks.rows();
  for (auto row = rows.lower_bound(range.first); row != rows.end() && row->first < range.end;
       ++row) {
    if (look.found.size() == most || look.examined == limits::kListWalk) return look;
    ++look.examined;
    look.cursor = row->first;
    if (row->second.matches(job.filter))
      look.found.emplace_back(row->first, row->second.live.state);
  }
  look.ended = true;
  return look;
}

Job MemoryJobs::advance(const Job& from, const JobSlice& slice) {
  MutexLock lock(state_.mutex);
  Job& job = state_.jobs.at(from.id);
  if (is_ended(job.state) || job.cursor != from.cursor) return job;
  TimePoint now = state_.clock.now();
  Effects effects;
  JobCounts counts = slice.exported;
  if (job.action != JobAction::export_tasks)
    for (const auto& [key, seen] : slice.look.found)
      act(state_.tasks, job, key, now, counts, effects);
  move_on(job, slice, counts, now);
  state_.commit(std::move(effects));
  return job;
}

std::optional<Job> MemoryJobs::end(JobId id, JobState state, const std::string& error) {
  MutexLock lock(state_.mutex);
  auto found = state_.jobs.find(id);
  if (found == state_.jobs.end()) return std::nullopt;
  Job& job = found->second;
  end_job(job, state, error, state_.clock.now());
  return job;
}

std::vector<JobId> MemoryJobs::forget(TimePoint ended_before) {
  MutexLock lock(state_.mutex);
  std::vector<JobId> forgotten;
  for (const auto& [id, job] : state_.jobs)
    if (job.ended_at && *job.ended_at < ended_before) forgotten.push_back(id);
  for (JobId id : forgotten) state_.jobs.erase(id);
  return forgotten;
}

}  // namespace opscore
