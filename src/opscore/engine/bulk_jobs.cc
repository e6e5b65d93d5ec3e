#include "opscore/engine/bulk_jobs.h"

#include <fmt/format.h>
#include <unistd.h>

#include <charconv>
#include <limits>

#include "opscore/engine/export_file.h"
#include "opscore/model/limits.h"

namespace opscore {
namespace {

// A slice of changes holds up whoever else wants to write: about the time of a few commits.
constexpr Duration kSlice{20};
constexpr size_t kSliceTasksFirst = 100;
constexpr size_t kSliceTasksMax = 1000;
constexpr Duration kKeep = std::chrono::hours(24 * 7);  // ended jobs, and what they exported
constexpr Duration kForgetEvery = std::chrono::minutes(10);

bool is_export(const Job& job) {
  return job.action == JobAction::export_tasks;
}

}  // namespace

BulkJobs::BulkJobs(Store& store, const Clock& clock, Log& log, BulkJobsOptions options)
    : store_(store),
      clock_(clock),
      log_(log),
      options_(std::move(options)),
      slice_tasks_{kSliceTasksFirst, kSliceTasksFirst} {}

std::string BulkJobs::id_of(JobId id) {
  return fmt::format("job_{}", id.value);
}

std::string BulkJobs::file_of(JobId id) const {
  return fmt::format("{}/{}.ndjson", options_.exports, id_of(id));
}

JobRequest BulkJobs::checked(JobRequest request) const {
  bool changes = request.action != JobAction::export_tasks;
  if (changes && request.filter.empty() && !request.all)
    throw Error(Errc::invalid,
                fmt::format("filter: is empty, which would {} every task there is; name a status, "
                            "type, queue, label or time, or say \"all\": true",
                            to_string(request.action)))
        .at("filter");
  if (!changes && options_.exports.empty())
    throw Error(Errc::invalid, "action: this server has no folder for exports").at("action");
  if (request.filter.states.empty()) request.filter.states = default_states(request.action);
  return request;
}

Job BulkJobs::start(JobRequest request) {
  request = checked(std::move(request));
  Job job = store_.jobs().create({request.action, std::move(request.filter)});
  log_.info("{}: {} of all tasks that match", id_of(job.id), to_string(job.action));
  options_.wake();
  return job;
}

JobEstimate BulkJobs::estimate(JobRequest request) {
  Job job;
  JobEstimate estimate;
  job.action = request.action;
  job.filter = estimate.filter = checked(std::move(request)).filter;
  job.bound = TaskKey{std::numeric_limits<int64_t>::max() - 1};
  for (bool ended = false; !ended;) {
    JobLook look = store_.jobs().look(job, limits::kListWalk);
    job.cursor = look.cursor;
    ended = look.ended;
    estimate.counts.examined += static_cast<int64_t>(look.examined);
    estimate.counts.matched += static_cast<int64_t>(look.found.size());
    for (const auto& [key, state] : look.found)
      can(job.action, state) ? (void)++estimate.counts.done
                             : estimate.counts.skip(to_string(state));
    if (ended || estimate.counts.examined < static_cast<int64_t>(kEstimateWalk)) continue;
    estimate.exact = false;
    break;
  }
  return estimate;
}

Job BulkJobs::get(std::string_view id) {
  constexpr std::string_view kPrefix = "job_";
  JobId number;
  if (id.starts_with(kPrefix)) {
    const char* end = id.data() + id.size();
    auto [rest, code] = std::from_chars(id.data() + kPrefix.size(), end, number.value);
    if (code == std::errc() && rest == end)
      if (auto job = store_.jobs().find(number)) return std::move(*job);
  }
  throw Error(Errc::not_found, fmt::format("no job '{}'; ended ones are kept for {}",
                                           id.substr(0, 140), to_text(kKeep)));
}

std::vector<Job> BulkJobs::list(size_t limit) {
  return store_.jobs().list(limit);
}

Job BulkJobs::stop(std::string_view id) {
  Job job = get(id);
  if (is_ended(job.state))
    throw Error(Errc::conflict, fmt::format("stop {}: it is {} already", id, to_string(job.state)));
  job = store_.jobs().end(job.id, JobState::stopped, "").value();
  if (is_export(job) && job.state == JobState::stopped) remove_file(file_of(job.id));
  log_.info("{}: {} after {} tasks", id, to_string(job.state), job.counts.done);
  return job;
}

std::string BulkJobs::export_file(std::string_view id) {
  Job job = get(id);
  if (!is_export(job))
    throw Error(Errc::conflict,
                fmt::format("{}: is a {}, it has no export", id, to_string(job.action)));
  if (job.state != JobState::completed)
    throw Error(Errc::conflict, fmt::format("{}: is {}; its export is there when it is completed",
                                            id, to_string(job.state)));
  std::string file = file_of(job.id);
  if (::access(file.c_str(), F_OK) != 0)
    throw Error(Errc::not_found,
                fmt::format("{}: its export {} is not here; where `opscore maintenance` runs on "
                            "another machine, store.exports has to be a folder that both share",
                            id, file));
  return file;
}

bool BulkJobs::work() {
  if (clock_.steady() >= forget_at_) forget_old();
  auto unfinished = store_.jobs().unfinished();
  if (unfinished.empty()) return false;
  const Job* turn = &unfinished[0];
  for (const Job& job : unfinished)
    if (job.id > last_) {
      turn = &job;
      break;
    }
  last_ = turn->id;
  step(*turn);
  return true;
}

Job BulkJobs::work_on(Job job, Deadline until) {
  while (!is_ended(job.state) && !until.passed()) job = step(job);
  return job;
}

// A job that cannot go on fails; when it is the store that is away, it waits like everything else.
Job BulkJobs::step(const Job& job) {
  try {
    return step_unguarded(job);
  } catch (const Error& error) {
    if (error.retryable() && error.code() != Errc::disk_low) throw;
    return fail(job, error);
  }
}

Job BulkJobs::step_unguarded(const Job& job) {
  std::atomic<size_t>& most = slice_tasks_[is_export(job)];
  JobSlice slice;
  slice.look = store_.jobs().look(job, most);
  SteadyPoint began = clock_.steady();
  if (is_export(job)) write_export(job, slice);
  Job after = store_.jobs().advance(job, slice);
  auto took = clock_.steady() - began;
  if (took > kSlice)
    most = std::max<size_t>(most / 2, 1);
  else if (took < kSlice / 2 && slice.look.found.size() >= most)
    most = std::min(most * 2, kSliceTasksMax);
  if (is_ended(after.state))
    log_.info("{}: {}: {} done, {} matched", id_of(after.id), to_string(after.state),
              after.counts.done, after.counts.matched);
  return after;
}

void BulkJobs::write_export(const Job& job, JobSlice& slice) {
  ExportFile file(file_of(job.id), job.bytes, options_.disk_reserve_bytes);
  std::string line;
  for (const auto& [key, seen] : slice.look.found) {
    auto task = store_.reader().find(key);
    if (!task || !job.filter.states.has(task->state())) {
      slice.exported.skip(task ? to_string(task->state()) : kSkippedDeleted);
      continue;
    }
    line.clear();
    options_.write_task(line, *task);
    file.append(line += '\n');
    ++slice.exported.done;
  }
  slice.bytes = file.sync();
}

Job BulkJobs::fail(const Job& job, const Error& error) {
  log_.error("{}: failed: {}", id_of(job.id), error.what());
  if (is_export(job)) remove_file(file_of(job.id));
  return store_.jobs().end(job.id, JobState::failed, error.message()).value();
}

void BulkJobs::forget_old() {
  for (JobId id : store_.jobs().forget(clock_.now() - kKeep))
    if (!options_.exports.empty()) remove_file(file_of(id));
  forget_at_ = clock_.steady() + kForgetEvery;
}

}  // namespace opscore
