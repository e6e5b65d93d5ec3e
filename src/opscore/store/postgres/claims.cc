#include "opscore/store/postgres/claims.h"

#include <algorithm>

#include "opscore/model/limits.h"

namespace opscore::postgres {

const Statement kHoldSession{"hold_session",
                             "SELECT pg_advisory_xact_lock_shared(hashtext(current_schema || "
                             "':session'), $1::bigint::int)"};

namespace {

// The best of each lane that the worker does not know.
constexpr Statement kForeign{
    "claim_foreign",
    "SELECT s.lane, c.place, c.key FROM unnest($1::bigint[], $2::bigint[]) s(lane, first) "
    "CROSS JOIN LATERAL (SELECT l.place, l.key FROM live l WHERE " OPSCORE_DUE_ROW(
        "$3", "$4") " ORDER BY " OPSCORE_BEST_FIRST " LIMIT 1) c"};
constexpr Statement kNextDue{
    "next_due",
    "SELECT s.lane, c.run_at FROM unnest($1::bigint[]) s(lane) CROSS JOIN LATERAL (SELECT l.run_at "
    "FROM live l WHERE l.lane = s.lane AND l.later AND l.run_at > $2::bigint AND l.state + 0 = 0 "
    "AND l.external IS NULL ORDER BY l.run_at LIMIT 1) c"};

// What the guard found, as bits.
constexpr int64_t kSettled = 1, kAlive = 2, kSuspects = 4;
// What a row of the answer is about.
constexpr int64_t kTaken = 0, kLeft = 2;  // 1: the guard
#define OPSCORE_18_NULLS                                                                       \
  "NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, " \
  "NULL, NULL, NULL"

// Lanes ($1) belong to queues by number ($2), each with where to begin ($3). Of each queue ($4) one
// more is locked than is taken ($5), which tells whether there is more. Rows that others have
// locked are passed over, so that no claimer waits for another. The mark of the commit is made only
// with something to commit.
constexpr Statement kClaim{
    "claim",
    "WITH guard AS MATERIALIZED (SELECT "
    "CASE WHEN (SELECT version FROM settings) = $8::bigint THEN 1 ELSE 0 END + "
    "CASE WHEN EXISTS(SELECT 1 FROM sessions WHERE id = $9::bigint AND ended IS NULL) "
    "THEN 2 ELSE 0 END + "
    "CASE WHEN EXISTS(SELECT 1 FROM unnest($1::bigint[]) s(lane) CROSS JOIN LATERAL (SELECT FROM "
    "live l WHERE l.suspect AND l.lane = s.lane AND l.state + 0 IN (0, 2) LIMIT 1) x) "
    "THEN 4 ELSE 0 END AS found), "
    "picked AS MATERIALIZED (SELECT q.most, c.* FROM unnest($4::bigint[], $5::bigint[]) "
    "q(queue, most) CROSS JOIN LATERAL (SELECT m.*, row_number() OVER () AS n FROM ("
    "SELECT s.lane, l.place, l.key FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) "
    "s(lane, queue, first) CROSS JOIN LATERAL (SELECT l.place, l.key FROM live l "
    "WHERE " OPSCORE_DUE_ROW("$6", "$7") " AND NOT l.suspect "
    "ORDER BY " OPSCORE_BEST_FIRST " LIMIT q.most + 1 FOR UPDATE SKIP LOCKED) l "
    "WHERE s.queue = q.queue ORDER BY l.place, l.key LIMIT q.most + 1) m) c "
    "WHERE (SELECT found FROM guard) = 3), "
    "taken AS (" OPSCORE_TAKE("$9", "$7")
    " WHERE l.key = ANY(ARRAY(SELECT key FROM picked WHERE n <= most)) "
    "RETURNING " OPSCORE_LIVE_COLUMNS "), "
    "marked AS (UPDATE writers SET number = $11::bigint, at = now() WHERE id = $10::bigint AND "
    "number = $11::bigint - 1 AND EXISTS(SELECT 1 FROM picked WHERE n <= most) RETURNING 1) "
    "SELECT " OPSCORE_LIVE_COLUMNS ", 0, t.input, t.options FROM taken l" OPSCORE_PAYLOAD
    " UNION ALL SELECT (SELECT found FROM guard), (SELECT count(*) FROM lanes)::int, "
    OPSCORE_18_NULLS ", 1, NULL, CASE WHEN EXISTS(SELECT 1 FROM taken) "
    "THEN (1 / (SELECT count(*) FROM marked))::text END "
    "UNION ALL SELECT key, lane, " OPSCORE_18_NULLS
    ", 2, place::text, NULL FROM picked WHERE n > most"};
constexpr int kKindColumn = kLiveColumns;

// What was taken by a commit whose answer was lost.
constexpr Statement kRecall{"recall_claim", "SELECT " OPSCORE_LIVE_COLUMNS
                                            ", 0, t.input, t.options FROM live l" OPSCORE_PAYLOAD
                                            " WHERE l.session = $1::bigint AND l.state + 0 = 3 "
                                            "AND l.xmin = (SELECT w.xmin FROM writers w "
                                            "WHERE w.id = $2::bigint)"};

class PlainClaim {
 public:
  PlainClaim(Parts& parts, const ClaimRequest& request) : parts_(parts), request_(request) {}

  enum class End : uint8_t { done, again, limited };
  End run() {
    parts_.writers.run(
        "claim", [this](Transaction& transaction) { act(transaction); },
        [this](Connection& connection, Mark mark) { recall(connection, mark); });
    if (end_ == End::again) parts_.settings.forget();
    if (end_ != End::done) return end_;
    if (lanes_known_ < lanes_there_) {
      // Another process has added one, and perhaps a task that is to be had.
      parts_.readers.run("load lanes", [&](Connection& connection) {
        parts_.lanes.load(connection);
        return 0;
      });
      if (taken_.empty()) return End::again;
      result_.more = true;
    }
    return End::done;
  }

  ClaimResult result() {
    for (auto& [queue, tasks] : taken_) {
      std::ranges::sort(tasks, {}, [](const ClaimedTask& task) {
        return Standing{order_of(task.live.run_at, task.priority), task.key};
      });
      for (ClaimedTask& task : tasks) result_.tasks.push_back(std::move(task));
    }
    return std::move(result_);
  }

 private:
  void act(Transaction& transaction) {
    result_ = {};
    taken_.clear();
    end_ = End::limited;
    if (transaction.again()) parts_.floors.reset();  // others have passed over what it had locked
    auto known = parts_.settings.of(transaction);
    lanes_known_ = parts_.lanes.size();
    lanes_.emplace(parts_, request_, known->settings, transaction.now());
    if (is_limited(*known)) return;
    transaction.mark_by_statement();
    transaction.send(kHoldSession, Parameters::of(request_.session));
    size_t claimed = send(transaction, *known);
    lanes_->ask(transaction);
    transaction.commit();
    read(transaction, claimed);
    transaction.set_marked(!taken_.empty());
  }

  bool is_limited(const KnownSettings& known) const {
    if (std::ranges::any_of(request_.queues,
                            [&](const auto& from) { return known.limits_concurrency(from.queue); }))
      return true;
    return std::ranges::any_of(lanes_->known(), [&](const auto& source) {
      return std::ranges::any_of(request_.room, [&](const auto& room) {
        return std::ranges::find(room.types, source.lane.type) != room.types.end();
      });
    });
  }

  size_t send(Transaction& transaction, const KnownSettings& known) {
    Array lanes = Array::numbers(), queues_of_lanes = Array::numbers(), first = Array::numbers(),
          queues = Array::numbers(), most = Array::numbers();
    for (const auto& source : lanes_->known()) {
      lanes.add(source.lane.id);
      queues_of_lanes.add(static_cast<int64_t>(source.queue));
      first.add(source.first);
    }
    for (size_t i = 0; i < request_.queues.size(); ++i) {
      const auto& from = request_.queues[i];
      if (known.settings.of_queue(from.queue).paused) continue;
      queues.add(static_cast<int64_t>(i));
      most.add(static_cast<int64_t>(from.max));
    }
    const Mark& mark = transaction.mark();
    return transaction.send(
        kClaim, Parameters::of(lanes, queues_of_lanes, first, queues, most, lanes_->last_place(),
                               transaction.now(), known.version, request_.session, mark.writer,
                               mark.number));
  }

  void read(Transaction& transaction, size_t claimed) {
    const Rows& rows = transaction.rows(claimed);
    std::map<size_t, Standing> left;
    for (int i = 0; i < rows.size(); ++i) {
      const auto* source = lanes_->find(rows.integer(i, 1));
      int64_t kind = rows.integer(i, kKindColumn);
      if (kind == kTaken) {
        taken_[source->queue].push_back(decode_claimed(rows, i, source->lane));
      } else if (kind == kLeft) {
        left[source->queue] = {std::stoll(std::string(rows.text(i, kKindColumn + 1))),
                               TaskKey{rows.integer(i, 0)}};
      } else {
        int64_t found = rows.integer(i, 0);
        lanes_there_ = static_cast<size_t>(rows.integer(i, 1));
        end_ = (found & kSettled) == 0    ? End::again
               : (found & kAlive) == 0    ? End::done
               : (found & kSuspects) != 0 ? End::limited
                                          : End::done;
        looks_ = found == (kSettled | kAlive);
      }
    }
    if (!looks_) return;
    result_.more = !left.empty();
    lanes_->answer(transaction, result_, left);
    // A connection that was cut may hold its rows for a moment yet: they were passed over.
    if (transaction.again()) return;
    for (const auto& source : lanes_->known()) {
      if (source.paused) continue;
      auto next = left.find(source.queue);
      lanes_->raise(source, next == left.end() ? lanes_->last_place() : next->second.place);
    }
  }

  void recall(Connection& connection, Mark mark) {
    Rows rows = connection.query(kRecall, Parameters::of(request_.session, mark.writer));
    taken_.clear();
    for (int i = 0; i < rows.size(); ++i) {
      const auto* source = lanes_->find(rows.integer(i, 1));
      taken_[source->queue].push_back(decode_claimed(rows, i, source->lane));
    }
    result_.more = true;
    end_ = End::done;
  }

  Parts& parts_;
  const ClaimRequest& request_;
  std::optional<ClaimedLanes> lanes_;
  size_t lanes_known_ = 0, lanes_there_ = 0;
  bool looks_ = false;                                // it was for it to look
  std::map<size_t, std::vector<ClaimedTask>> taken_;  // by queue
  End end_ = End::done;
  ClaimResult result_;
};

}  // namespace

ClaimedLanes::ClaimedLanes(Parts& parts, const ClaimRequest& request, const Settings& settings,
                           TimePoint now)
    : parts_(parts), now_(now), seen_(parts.floors.seen()) {
  std::set<std::string_view> types;
  if (request.types) types.insert(request.types->begin(), request.types->end());
  for (size_t i = 0; i < request.queues.size(); ++i) {
    const std::string& queue = request.queues[i].queue;
    bool paused = settings.of_queue(queue).paused;
    for (Lane& lane : parts.lanes.of_queue(queue)) {
      auto& sources = types.contains(lane.type) ? known_ : strange_;
      int64_t first = parts.floors.of(lane, now);
      sources.push_back({std::move(lane), i, paused, first});
    }
  }
}

const ClaimedLanes::Source* ClaimedLanes::find(LaneId id) const {
  for (const auto* sources : {&known_, &strange_})
    for (const Source& source : *sources)
      if (source.lane.id == id) return &source;
  return nullptr;
}

int64_t ClaimedLanes::last_place() const {
  return order_of(now_, -limits::kPriorityMax);
}

void ClaimedLanes::ask(Transaction& transaction) {
  Array lanes = Array::numbers(), first = Array::numbers(), every = Array::numbers();
  for (const Source& source : known_) every.add(source.lane.id);
  for (const Source& source : strange_) {
    every.add(source.lane.id);
    lanes.add(source.lane.id);
    first.add(source.first);
  }
  if (!strange_.empty())
    strange_rows_ = transaction.send(kForeign, Parameters::of(lanes, first, last_place(), now_));
  due_rows_ = transaction.send(kNextDue, Parameters::of(every, now_));
}

void ClaimedLanes::answer(Transaction& transaction, ClaimResult& result,
                          const std::map<size_t, Standing>& left_behind) {
  const Rows& due = transaction.rows(due_rows_);
  for (int i = 0; i < due.size(); ++i) {
    TimePoint at = due.time(i, 1);
    next_due_[due.integer(i, 0)] = at;
    result.next_due_at = std::min(result.next_due_at.value_or(at), at);
  }
  if (strange_.empty()) return;
  std::set<std::string> skipped;
  const Rows& strange = transaction.rows(strange_rows_);
  for (int i = 0; i < strange.size(); ++i) {
    const Source& source = *find(strange.integer(i, 0));
    if (source.paused) continue;
    Standing first{strange.integer(i, 1), TaskKey{strange.integer(i, 2)}};
    auto left = left_behind.find(source.queue);
    if (left == left_behind.end() || first < left->second) skipped.insert(source.lane.type);
  }
  result.skipped_types.assign(skipped.begin(), skipped.end());
}

void ClaimedLanes::raise(const Source& source, int64_t place) {
  auto due = next_due_.find(source.lane.id);
  parts_.floors.raise(source.lane, place,
                      due == next_due_.end() ? std::nullopt : std::optional(due->second), seen_);
}

ClaimedTask decode_claimed(const Rows& rows, int row, const Lane& lane) {
  LiveRow live = decode_live(rows, row);
  ClaimedTask task;
  task.key = live.key;
  task.priority = live.priority;
  task.live = live.live;
  task.type = lane.type;
  task.queue = lane.queue;
  task.input = rows.text(row, kLiveColumns + 1);
  task.options = usable_options(rows.text(row, kLiveColumns + 2), task.problem);
  return task;
}

ClaimResult PostgresTasks::claim(const ClaimRequest& request) {
  for (;;) {
    PlainClaim claim(parts_, request);
    switch (claim.run()) {
      case PlainClaim::End::done:
        return claim.result();
      case PlainClaim::End::again:
        continue;
      case PlainClaim::End::limited:
        return claim_with_limits(parts_, request);
    }
  }
}

}  // namespace opscore::postgres
