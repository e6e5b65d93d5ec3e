#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "opscore/model/limits.h"
#include "opscore/model/submit.h"
#include "opscore/store/postgres/filter_walk.h"
#include "opscore/store/postgres/parts.h"
#include "opscore/store/postgres/settings_rows.h"
#include "opscore/store/postgres/task_rows.h"

namespace opscore::postgres {
namespace {

constexpr Statement kResolve{"resolve",
                             "SELECT task FROM keys WHERE kind = $1::bigint AND scope = '' AND "
                             "key = $2::text"};

// Everything about tasks in one statement, hence as of one moment.
#define OPSCORE_ATTEMPT_COLUMNS \
  "a.attempt, a.ended, a.charged, a.session, a.claimed, a.started, a.finished, a.error"
constexpr Statement kTasks{
    "tasks",
    "SELECT t.key, t.lane, t.priority, t.run_at, t.max_attempts, coalesce(i.input, t.input), "
    "t.options, " OPSCORE_LIVE_COLUMNS ", " OPSCORE_OUTCOME_COLUMNS ", " OPSCORE_ATTEMPT_COLUMNS
    " FROM tasks t LEFT JOIN live l ON l.key = t.key LEFT JOIN outcomes o ON o.key = t.key "
    "LEFT JOIN LATERAL (SELECT * FROM attempts a WHERE a.key = t.key ORDER BY a.attempt DESC "
    "LIMIT 1) a ON true LEFT JOIN inputs i ON i.key = t.key AND "
    "i.edit = coalesce(l.edits, o.edits) WHERE t.key = ANY($1::bigint[])"};
constexpr int kFirstLive = 7;
constexpr int kFirstOutcome = kFirstLive + kLiveColumns;
constexpr int kFirstAttempt = kFirstOutcome + kOutcomeColumns;

constexpr Statement kAttempts{
    "attempts",
    "SELECT " OPSCORE_ATTEMPT_COLUMNS
    " FROM attempts a WHERE a.key = $1::bigint "
    "UNION ALL SELECT l.attempt, NULL, false, l.session, l.claimed, l.started, NULL, NULL "
    "FROM live l WHERE l.key = $1::bigint AND l.state + 0 = 3 "
    "UNION ALL SELECT o.attempt, o.ended, o.ended_charged, o.session, o.claimed, o.started, "
    "o.finished, o.error FROM outcomes o WHERE o.key = $1::bigint AND o.ended IS NOT NULL "
    "ORDER BY 1"};
constexpr Statement kEvents{"events",
                            "SELECT number, at, kind, attempt, data FROM events "
                            "WHERE key = $1::bigint ORDER BY number"};
constexpr Statement kSteps{"steps",
                           "SELECT number, kind, name, request, response, attempt, at, took "
                           "FROM steps WHERE key = $1::bigint ORDER BY number"};
constexpr Statement kInputs{"inputs",
                            "SELECT 0, input FROM tasks WHERE key = $1::bigint UNION ALL "
                            "SELECT edit, input FROM inputs WHERE key = $1::bigint ORDER BY 1"};

constexpr Statement kOrigin{"origin",
                            "SELECT message_id, body FROM origins WHERE key = $1::bigint"};

constexpr Statement kLiveCounts{
    "count_live",
    "SELECT lane, state, count(*), min(CASE WHEN external IS NULL AND (state = 2 OR (state = 0 AND "
    "run_at <= $1::bigint)) THEN run_at END) FROM live GROUP BY lane, state"};
constexpr Statement kDoubtful{"doubtful",
                              "SELECT key FROM live WHERE external <= $1::bigint "
                              "ORDER BY external LIMIT $2::bigint"};
constexpr Statement kFinishedCounts{
    "count_finished",
    "SELECT queue, sum(completed)::bigint, sum(failed)::bigint, sum(cancelled)::bigint "
    "FROM counters GROUP BY queue"};

Task decode_task(const Rows& rows, int i, const Lane& lane) {
  Task task;
  task.key = TaskKey{rows.integer(i, 0)};
  task.type = lane.type;
  task.queue = lane.queue;
  task.priority = static_cast<int>(rows.integer(i, 2));
  task.max_attempts = static_cast<int>(rows.integer(i, 4));
  task.input = rows.text(i, 5);
  task.options = decode_options(rows.text(i, 6));
  task.updated_at = task.key.created_at();
  std::optional<Attempt> last;
  if (!rows.is_null(i, kFirstAttempt)) last = decode_attempt(rows, i, kFirstAttempt);
  if (!rows.is_null(i, kFirstLive)) {
    LiveRow row = decode_live(rows, i, kFirstLive);
    fill_unfinished(task, row.live, std::move(row.progress), last);
  } else {
    task.live.run_at = rows.optional_time(i, 3).value_or(task.key.created_at());
    fill_finished(task, decode_outcome(rows, i, kFirstOutcome), last);
  }
  return task;
}

void read_tasks(Parts& parts, Connection& connection, const std::vector<TaskKey>& keys,
                TaskPage& page) {
  Rows rows = connection.query(kTasks, Parameters::of(Array::keys(keys)));
  for (int i = 0; i < rows.size(); ++i) {
    // Written together, hence there together: a task without either is being deleted.
    if (rows.is_null(i, kFirstLive) && rows.is_null(i, kFirstOutcome)) continue;
    try {
      page.tasks.push_back(decode_task(rows, i, parts.lanes.lane(connection, rows.integer(i, 1))));
    } catch (const Error& error) {
      if (error.code() != Errc::corrupt) throw;
      page.corrupt.emplace_back(TaskKey{rows.integer(i, 0)}, error.message());
    }
  }
  std::ranges::sort(page.tasks, std::greater(), &Task::key);
}

void count(QueueStats& stats, State state, int64_t tasks) {
  if (state == State::scheduled) stats.scheduled += tasks;
  if (state == State::waiting) stats.waiting += tasks;
  if (state == State::pending) stats.pending += tasks;
  if (state == State::running) stats.running += tasks;
}

}  // namespace

std::optional<TaskKey> PostgresReader::resolve(std::string_view id) {
  if (auto key = ids_.decode(id)) return key;
  if (id.find('\0') != id.npos) return std::nullopt;  // no text of the database has one
  return parts_.readers.run("resolve an id", [&](Connection& connection) {
    Rows rows = connection.query(
        kResolve, Parameters::of(static_cast<int64_t>(UniqueKey::Kind::task_id), id));
    return rows.size() == 1 ? std::optional(TaskKey{rows.integer(0, 0)}) : std::nullopt;
  });
}

std::optional<Task> PostgresReader::find(TaskKey key) {
  return parts_.readers.run("read a task", [&](Connection& connection) {
    TaskPage page;
    read_tasks(parts_, connection, {key}, page);
    if (!page.corrupt.empty())
      throw Error(Errc::corrupt,
                  fmt::format("read task {}: {}", ids_.encode(key), page.corrupt.front().second));
    return page.tasks.empty() ? std::nullopt : std::optional(std::move(page.tasks.front()));
  });
}

TaskPage PostgresReader::list(const TaskFilter& filter, std::optional<TaskKey> before,
                              size_t limit) {
  KeyRange range = range_of(filter);
  if (before) range.end = std::min(range.end, *before);
  return parts_.readers.run("list tasks", [&](Connection& connection) {
    TaskPage page;
    std::vector<TaskKey> matches;
    FilterWalk walk(connection, parts_.lanes, filter, range, FilterWalk::Order::newest_first,
                    limit + 1);
    TaskKey last = range.end;
    for (size_t looked = 0; walk.next(); ++looked) {
      const size_t listed = matches.size() + page.corrupt.size();
      if (listed == limit || looked == limits::kListWalk) {
        page.partial = listed < limit;
        page.next = last;
        break;
      }
      last = walk.key();
      try {
        if (walk.match()) matches.push_back(last);
      } catch (const Error& error) {
        if (error.code() != Errc::corrupt) throw;
        page.corrupt.emplace_back(last, error.message());
      }
    }
    if (!matches.empty()) read_tasks(parts_, connection, matches, page);
    return page;
  });
}

std::vector<Attempt> PostgresReader::attempts(TaskKey key) {
  return parts_.readers.run("read attempts", [&](Connection& connection) {
    Rows rows = connection.query(kAttempts, Parameters::of(key));
    std::vector<Attempt> attempts;
    for (int i = 0; i < rows.size(); ++i) attempts.push_back(decode_attempt(rows, i));
    return attempts;
  });
}

std::vector<TaskEvent> PostgresReader::events(TaskKey key) {
  return parts_.readers.run("read events", [&](Connection& connection) {
    Rows rows = connection.query(kEvents, Parameters::of(key));
    std::vector<TaskEvent> events;
    for (int i = 0; i < rows.size(); ++i)
      events.push_back({static_cast<int>(rows.integer(i, 0)), rows.time(i, 1),
                        std::string(rows.text(i, 2)), static_cast<int>(rows.integer(i, 3)),
                        std::string(rows.text(i, 4))});
    return events;
  });
}

std::vector<Step> PostgresReader::steps(TaskKey key) {
  return parts_.readers.run("read steps", [&](Connection& connection) {
    Rows rows = connection.query(kSteps, Parameters::of(key));
    std::vector<Step> steps;
    for (int i = 0; i < rows.size(); ++i)
      steps.push_back({static_cast<int>(rows.integer(i, 0)), std::string(rows.text(i, 1)),
                       std::string(rows.text(i, 2)), std::string(rows.text(i, 3)),
                       std::string(rows.text(i, 4)), static_cast<int>(rows.integer(i, 5)),
                       rows.time(i, 6), Duration(rows.integer(i, 7))});
    return steps;
  });
}

std::vector<std::string> PostgresReader::inputs(TaskKey key) {
  return parts_.readers.run("read inputs", [&](Connection& connection) {
    Rows rows = connection.query(kInputs, Parameters::of(key));
    std::vector<std::string> inputs;
    for (int i = 0; i < rows.size(); ++i) inputs.emplace_back(rows.text(i, 1));
    return inputs;
  });
}

std::vector<Task> PostgresReader::doubtful(size_t limit) {
  TimePoint now = parts_.clock.now();
  return parts_.readers.run("read what is run outside", [&](Connection& connection) {
    Rows rows = connection.query(kDoubtful, Parameters::of(now, static_cast<int64_t>(limit)));
    std::vector<TaskKey> keys;
    for (int i = 0; i < rows.size(); ++i) keys.push_back(TaskKey{rows.integer(i, 0)});
    TaskPage page;  // what cannot be read is left to those who list it
    if (!keys.empty()) read_tasks(parts_, connection, keys, page);
    std::vector<Task>& tasks = page.tasks;
    std::erase_if(tasks, [](const Task& task) { return task.live.claimable(); });  // it ended since
    std::ranges::sort(tasks, {}, [](const Task& task) { return *task.live.external_until; });
    return std::move(tasks);
  });
}

std::optional<MessageOrigin> PostgresReader::origin(TaskKey key) {
  return parts_.readers.run("read the message of a task", [&](Connection& connection) {
    Rows rows = connection.query(kOrigin, Parameters::of(key));
    if (rows.size() == 0) return std::optional<MessageOrigin>();
    return std::optional(MessageOrigin{std::string(rows.text(0, 0)), std::string(rows.text(0, 1))});
  });
}

std::vector<QueueStats> PostgresReader::queues() {
  TimePoint now = parts_.clock.now();
  return parts_.readers.run("count queues", [&](Connection& connection) {
    std::map<std::string, QueueStats> stats;
    Rows live = connection.query(kLiveCounts, Parameters::of(now));
    for (int i = 0; i < live.size(); ++i) {
      QueueStats& queue = stats[parts_.lanes.lane(connection, live.integer(i, 0)).queue];
      count(queue, static_cast<State>(live.integer(i, 1)), live.integer(i, 2));
      if (auto oldest = live.optional_time(i, 3))
        queue.oldest_pending_at = std::min(queue.oldest_pending_at.value_or(now), *oldest);
    }
    Rows finished = connection.query(kFinishedCounts);
    for (int i = 0; i < finished.size(); ++i) {
      QueueStats& queue = stats[std::string(finished.text(i, 0))];
      queue.completed = finished.integer(i, 1);
      queue.dead = finished.integer(i, 2);
      queue.cancelled = finished.integer(i, 3);
    }
    const KnownSettings known = decode_settings(connection.query(settings_statement()));
    for (const auto& [name, settings] : known.settings.queues) {
      stats[name].paused = settings.paused;
      stats[name].limits = settings.limits;
    }
    std::vector<QueueStats> listed;
    for (auto& [name, queue] : stats) {
      queue.name = name;
      listed.push_back(std::move(queue));
    }
    return listed;
  });
}

}  // namespace opscore::postgres
