#include "opscore/model/decide.h"
#include "opscore/store/job_walk.h"
#include "opscore/store/sqlite/filter_walk.h"
#include "opscore/store/sqlite/sqlite_parts.h"

namespace opscore::sqlite {
namespace {

using Kind = Committer::Kind;

constexpr char kFind[] = "SELECT * FROM jobs WHERE id = ?";
constexpr char kList[] = "SELECT * FROM jobs ORDER BY id DESC LIMIT ?";
constexpr char kUnfinished[] =
    "SELECT * FROM jobs INDEXED BY jobs_unfinished WHERE ended IS NULL ORDER BY id";

// The columns in the order of the schema.
Job decode_job(const Statement::Rows& rows) {
  Job job;
  job.id = JobId{rows.integer(0)};
  job.action = static_cast<JobAction>(rows.integer(1));
  job.filter = decode_filter(rows.text(2));
  job.state = static_cast<JobState>(rows.integer(3));
  job.origin = TaskKey{rows.integer(4)};
  job.bound = TaskKey{rows.integer(5)};
  job.cursor = TaskKey{rows.integer(6)};
  job.counts = {rows.integer(7), rows.integer(8), rows.integer(9), decode_skipped(rows.text(10))};
  job.bytes = rows.integer(11);
  job.created_at = rows.time(12);
  job.started_at = rows.optional_time(13);
  job.ended_at = rows.optional_time(14);
  job.error = rows.text(15);
  return job;
}

template <class... Args>
std::vector<Job> select_jobs(Connection& db, const char* sql, const Args&... args) {
  std::vector<Job> jobs;
  Statement select(db, sql);
  auto rows = select.query(args...);
  while (rows.next()) jobs.push_back(decode_job(rows));
  return jobs;
}

std::optional<Job> find_job(Connection& db, JobId id) {
  auto found = select_jobs(db, kFind, id.value);
  return found.empty() ? std::nullopt : std::optional(std::move(found[0]));
}

void update_job(Connection& db, const Job& job) {
  Statement update(db,
                   "UPDATE jobs SET state = ?2, cursor = ?3, examined = ?4, matched = ?5, "
                   "done = ?6, skipped = ?7, bytes = ?8, started = ?9, ended = ?10, error = ?11 "
                   "WHERE id = ?1");
  std::string skipped = encode_skipped(job.counts.skipped);
  update.run(job.id.value, job.state, job.cursor.value, job.counts.examined, job.counts.matched,
             job.counts.done, or_null(std::string_view(skipped)), job.bytes,
             or_null(job.started_at), or_null(job.ended_at), or_null(std::string_view(job.error)));
}

void act(WriteSide& side, const Job& job, TaskKey key, TimePoint now, JobCounts& counts) {
  auto state = side.queries.state(key);
  if (!state) return counts.skip(kSkippedDeleted);
  auto row = side.queries.live(key);
  auto reason = why_skipped(job, *state, !row || row->live.claimable());
  if (!reason.empty()) return counts.skip(reason);
  ++counts.done;
  if (job.action == JobAction::remove) {
    side.erase(key);
    return;
  }
  Task task = side.queries.task(key).value();
  auto plan = job.action == JobAction::cancel ? decide_cancel(task, now)
                                              : decide_retry(task, std::nullopt, now);
  Applied applied = side.apply(plan.value());
  OPSCORE_ASSERT(applied == Applied::applied, "a plan made in its own transaction is refused");
}

}  // namespace

Job SqliteJobs::create(const NewJob& wanted) {
  Job job;
  job.action = wanted.action;
  job.filter = wanted.filter;
  std::string filter = encode_filter(wanted.filter);
  parts_.write("create a job", 1, Kind::ends_work, [&](WriteSide& side) {
    Statement insert(side.db,
                     "INSERT INTO jobs(action, filter, state, origin, bound, cursor, examined, "
                     "matched, done, bytes, created) VALUES(?1, ?2, ?3, "
                     "max(?4, (SELECT coalesce(min(key), 0) FROM tasks)), "
                     "(SELECT coalesce(max(key), 0) FROM tasks), 0, 0, 0, 0, 0, ?5) "
                     "RETURNING *");
    auto rows = insert.query(job.action, filter, job.state, range_of(job.filter).first.value,
                             side.clock.now());
    rows.next();
    job = decode_job(rows);
    while (rows.next()) {
    }
  });
  return job;
}

std::optional<Job> SqliteJobs::find(JobId id) {
  return find_job(parts_.readers.borrow()->db, id);
}

std::vector<Job> SqliteJobs::list(size_t limit) {
  return select_jobs(parts_.readers.borrow()->db, kList, limit);
}

std::vector<Job> SqliteJobs::unfinished() {
  return select_jobs(parts_.readers.borrow()->db, kUnfinished);
}

JobLook SqliteJobs::look(const Job& job, size_t most) {
  auto reader = parts_.readers.borrow();
  FilterWalk walk(*reader, job.filter, keys_left(job), FilterWalk::Order::oldest_first);
  return look_along(walk, job, most);
}

Job SqliteJobs::advance(const Job& from, const JobSlice& slice) {
  Job job;
  size_t items = slice.look.found.size();
  parts_.write("advance a job", items, Kind::ends_work, [&](WriteSide& side) {
    job = find_job(side.db, from.id).value();
    if (is_ended(job.state) || job.cursor != from.cursor) return;
    TimePoint now = side.clock.now();
    JobCounts counts = slice.exported;
    if (job.action != JobAction::export_tasks)
      for (const auto& [key, seen] : slice.look.found) act(side, job, key, now, counts);
    move_on(job, slice, counts, now);
    update_job(side.db, job);
  });
  return job;
}

std::optional<Job> SqliteJobs::end(JobId id, JobState state, const std::string& error) {
  std::optional<Job> job;
  parts_.write("end a job", 1, Kind::ends_work, [&](WriteSide& side) {
    job = find_job(side.db, id);
    if (job && end_job(*job, state, error, side.clock.now())) update_job(side.db, *job);
  });
  return job;
}

std::vector<JobId> SqliteJobs::forget(TimePoint ended_before) {
  std::vector<JobId> forgotten;
  parts_.write("forget jobs", 1, Kind::ends_work, [&](WriteSide& side) {
    forgotten.clear();
    Statement old(side.db, "DELETE FROM jobs WHERE ended < ? RETURNING id");
    auto rows = old.query(ended_before);
    while (rows.next()) forgotten.push_back(JobId{rows.integer(0)});
  });
  return forgotten;
}

}  // namespace opscore::sqlite
