#include "opscore/model/decide.h"
#include "opscore/store/job_walk.h"
#include "opscore/store/postgres/filter_walk.h"
#include "opscore/store/postgres/task_images.h"

namespace opscore::postgres {
namespace {

#define OPSCORE_JOB_COLUMNS                                                              \
  "id, action, filter, state, origin, bound, cursor, examined, matched, done, skipped, " \
  "bytes, created, started, ended, error"
constexpr Statement kCreate{
    "create_job",
    "INSERT INTO jobs(action, filter, state, origin, bound, cursor, examined, matched, done, "
    "bytes, created) VALUES($1::bigint, $2::text, $3::bigint, greatest($4::bigint, "
    "(SELECT min(key) FROM tasks)), coalesce((SELECT max(key) FROM tasks), 0), 0, 0, 0, 0, 0, "
    "$5::bigint) RETURNING " OPSCORE_JOB_COLUMNS};
constexpr Statement kFind{"find_job",
                          "SELECT " OPSCORE_JOB_COLUMNS " FROM jobs WHERE id = $1::bigint"};
constexpr Statement kLock{
    "lock_job", "SELECT " OPSCORE_JOB_COLUMNS " FROM jobs WHERE id = $1::bigint FOR UPDATE"};
constexpr Statement kList{
    "list_jobs", "SELECT " OPSCORE_JOB_COLUMNS " FROM jobs ORDER BY id DESC LIMIT $1::bigint"};
constexpr Statement kUnfinished{
    "unfinished_jobs", "SELECT " OPSCORE_JOB_COLUMNS " FROM jobs WHERE ended IS NULL ORDER BY id"};
constexpr Statement kUpdate{
    "update_job",
    "UPDATE jobs SET state = $2::bigint, cursor = $3::bigint, examined = $4::bigint, "
    "matched = $5::bigint, done = $6::bigint, skipped = $7::text, bytes = $8::bigint, "
    "started = $9::bigint, ended = $10::bigint, error = $11::text WHERE id = $1::bigint"};
constexpr Statement kForget{"forget_jobs",
                            "DELETE FROM jobs WHERE ended < $1::bigint RETURNING id"};

Job decode_job(const Rows& rows, int i) {
  Job job;
  job.id = JobId{rows.integer(i, 0)};
  job.action = static_cast<JobAction>(rows.integer(i, 1));
  job.filter = decode_filter(rows.text(i, 2));
  job.state = static_cast<JobState>(rows.integer(i, 3));
  job.origin = TaskKey{rows.integer(i, 4)};
  job.bound = TaskKey{rows.integer(i, 5)};
  job.cursor = TaskKey{rows.integer(i, 6)};
  job.counts = {rows.integer(i, 7), rows.integer(i, 8), rows.integer(i, 9),
                decode_skipped(rows.text(i, 10))};
  job.bytes = rows.integer(i, 11);
  job.created_at = rows.time(i, 12);
  job.started_at = rows.optional_time(i, 13);
  job.ended_at = rows.optional_time(i, 14);
  job.error = rows.text(i, 15);
  return job;
}

std::vector<Job> decode_jobs(const Rows& rows) {
  std::vector<Job> jobs;
  for (int i = 0; i < rows.size(); ++i) jobs.push_back(decode_job(rows, i));
  return jobs;
}

std::optional<Job> lock(Transaction& transaction, JobId id) {
  Rows rows = transaction.query(kLock, Parameters::of(id.value));
  return rows.size() == 0 ? std::nullopt : std::optional(decode_job(rows, 0));
}

void update(Transaction& transaction, const Job& job) {
  const JobCounts& counts = job.counts;
  std::string skipped = encode_skipped(counts.skipped);
  transaction.send(kUpdate,
                   Parameters::of(job.id.value, static_cast<int64_t>(job.state), job.cursor,
                                  counts.examined, counts.matched, counts.done, or_null(skipped),
                                  job.bytes, job.started_at, job.ended_at, or_null(job.error)));
}

void act(TaskImages& images, const Job& job, TaskKey key, TimePoint now, JobCounts& counts) {
  auto task = images.task(key);
  if (!task) return counts.skip(kSkippedDeleted);
  auto reason = why_skipped(job, task->state(), task->live.claimable());
  if (!reason.empty()) return counts.skip(reason);
  ++counts.done;
  if (job.action == JobAction::remove) {
    images.erase(key);
    return;
  }
  auto plan = job.action == JobAction::cancel ? decide_cancel(*task, now)
                                              : decide_retry(*task, std::nullopt, now);
  Applied applied = images.apply(plan.value());
  OPSCORE_ASSERT(applied == Applied::applied, "a plan made in its own transaction is refused");
}

}  // namespace

Job PostgresJobs::create(const NewJob& wanted) {
  Job job;
  std::string filter = encode_filter(wanted.filter);
  parts_.writers.run("create a job", [&](Transaction& transaction) {
    Rows rows = transaction.query(kCreate,
                                  Parameters::of(static_cast<int64_t>(wanted.action), filter,
                                                 static_cast<int64_t>(JobState::pending),
                                                 range_of(wanted.filter).first, transaction.now()));
    job = decode_job(rows, 0);
  });
  return job;
}

std::optional<Job> PostgresJobs::find(JobId id) {
  return parts_.readers.run("read a job", [&](Connection& connection) {
    auto jobs = decode_jobs(connection.query(kFind, Parameters::of(id.value)));
    return jobs.empty() ? std::nullopt : std::optional(std::move(jobs[0]));
  });
}

std::vector<Job> PostgresJobs::list(size_t limit) {
  return parts_.readers.run("list jobs", [&](Connection& connection) {
    return decode_jobs(connection.query(kList, Parameters::of(static_cast<int64_t>(limit))));
  });
}

std::vector<Job> PostgresJobs::unfinished() {
  return parts_.readers.run("list jobs", [&](Connection& connection) {
    return decode_jobs(connection.query(kUnfinished));
  });
}

JobLook PostgresJobs::look(const Job& job, size_t most) {
  return parts_.readers.run("look for tasks of a job", [&](Connection& connection) {
    FilterWalk walk(connection, parts_.lanes, job.filter, keys_left(job),
                    FilterWalk::Order::oldest_first, most + 1);
    return look_along(walk, job, most);
  });
}

Job PostgresJobs::advance(const Job& from, const JobSlice& slice) {
  Job job;
  parts_.writers.run("advance a job", [&](Transaction& transaction) {
    job = lock(transaction, from.id).value();
    if (is_ended(job.state) || job.cursor != from.cursor) return;
    JobCounts counts = slice.exported;
    if (job.action != JobAction::export_tasks && !slice.look.found.empty()) {
      std::vector<TaskKey> keys;
      for (const auto& [key, seen] : slice.look.found) keys.push_back(key);
      TaskImages images(parts_, transaction);
      images.load(keys);
      for (TaskKey key : keys) act(images, job, key, transaction.now(), counts);
      images.write();
    }
    move_on(job, slice, counts, transaction.now());
    update(transaction, job);
  });
  return job;
}

std::optional<Job> PostgresJobs::end(JobId id, JobState state, const std::string& error) {
  std::optional<Job> job;
  parts_.writers.run("end a job", [&](Transaction& transaction) {
    job = lock(transaction, id);
    if (job && end_job(*job, state, error, transaction.now())) update(transaction, *job);
  });
  return job;
}

std::vector<JobId> PostgresJobs::forget(TimePoint ended_before) {
  std::vector<JobId> forgotten;
  parts_.writers.run("forget jobs", [&](Transaction& transaction) {
    forgotten.clear();
    Rows rows = transaction.query(kForget, Parameters::of(ended_before));
    for (int i = 0; i < rows.size(); ++i) forgotten.push_back(JobId{rows.integer(i, 0)});
  });
  return forgotten;
}

}  // namespace opscore::postgres
