// The selection of a claim: which due tasks a worker gets, in which order. Each lane of a queue,
// and its suspects apart, is a source; the best of all sources is next. Rows are locked as they are
// looked at, and rows that others have locked are passed over, so that no claimer waits for
// another.

#include <algorithm>
#include <map>
#include <set>

#include "opscore/model/decide.h"
#include "opscore/model/limits.h"
#include "opscore/store/postgres/parts.h"
#include "opscore/store/postgres/settings_rows.h"
#include "opscore/store/postgres/task_rows.h"

namespace opscore::postgres {
namespace {

// Rescue takes it alone and ends the session: a claim comes before that, or finds the session
// ended.
constexpr Statement kHoldSession{
    "hold_session",
    "SELECT pg_advisory_xact_lock_shared(hashtext(current_schema || ':session'), "
    "$1::bigint::int)"};
constexpr Statement kSituation{
    "claim_situation",
    "SELECT EXISTS(SELECT 1 FROM sessions WHERE id = $1::bigint AND ended IS NULL), "
    "(SELECT count(*) FROM lanes)"};
constexpr Statement kRunning{
    "running_of_session",
    "SELECT n.queue, count(*) FROM live l JOIN lanes n ON n.lane = l.lane WHERE "
    "l.session = $1::bigint AND l.state + 0 = 3 GROUP BY n.queue"};

// No due task is more urgent than one of the highest priority that became due just now, which
// bounds the walk over what is scheduled for later.
#define OPSCORE_DUE                                                      \
  "l.lane = s.lane AND l.place <= $3::bigint AND l.state + 0 IN (0, 2) " \
  "AND l.run_at <= $4::bigint AND (l.deadline IS NULL OR l.deadline > $4::bigint)"
constexpr Statement kCandidates{
    "claim_candidates",
    "SELECT s.lane, false, c.place, c.key FROM unnest($1::bigint[], $2::bigint[]) s(lane, most) "
    "CROSS JOIN LATERAL (SELECT l.place, l.key FROM live l WHERE " OPSCORE_DUE
    " AND NOT l.suspect ORDER BY l.place, l.key LIMIT s.most FOR UPDATE SKIP LOCKED) c"};
constexpr Statement kSuspects{
    "claim_suspects",
    "SELECT s.lane, true, c.place, c.key FROM unnest($1::bigint[], $2::bigint[]) s(lane, most) "
    "CROSS JOIN LATERAL (SELECT l.place, l.key FROM live l WHERE " OPSCORE_DUE
    " AND l.suspect ORDER BY l.place, l.key LIMIT s.most FOR UPDATE SKIP LOCKED) c"};
// The best of each lane that the worker does not know.
constexpr Statement kForeign{
    "claim_foreign",
    "SELECT s.lane, c.place, c.key FROM unnest($1::bigint[], $2::bigint[]) s(lane, most) "
    "CROSS JOIN LATERAL (SELECT l.place, l.key FROM live l WHERE " OPSCORE_DUE
    " ORDER BY l.place, l.key LIMIT s.most) c"};
constexpr Statement kNextDue{
    "next_due",
    "SELECT min(c.run_at) FROM unnest($1::bigint[]) s(lane) CROSS JOIN LATERAL (SELECT l.run_at "
    "FROM live l WHERE l.lane = s.lane AND l.later AND l.run_at > $2::bigint AND l.state + 0 = 0 "
    "ORDER BY l.run_at LIMIT 1) c"};
constexpr Statement kTake{
    "claim_take",
    "UPDATE live l SET state = 3, attempt = attempt + 1, session = $2::bigint, "
    "claimed = $3::bigint, started = NULL, cancel_requested = false, progress = NULL "
    "WHERE key = ANY($1::bigint[]) RETURNING " OPSCORE_LIVE_COLUMNS};
constexpr Statement kPayloads{
    "claim_payloads", "SELECT key, input, options FROM tasks WHERE key = ANY($1::bigint[])"};
constexpr Statement kEditedInputs{
    "claim_edited_inputs",
    "SELECT DISTINCT ON (key) key, input FROM inputs WHERE key = ANY($1::bigint[]) "
    "ORDER BY key, edit DESC"};

struct Candidate {
  int64_t place;
  TaskKey key;
  Lane lane;
  bool suspect;
  bool operator<(const Candidate& other) const {
    return place != other.place ? place < other.place : key < other.key;
  }
};

class Claiming {
 public:
  Claiming(Parts& parts, Transaction& transaction, const ClaimRequest& request)
      : parts_(parts),
        transaction_(transaction),
        request_(request),
        suspects_left_(static_cast<int64_t>(request.suspects)) {
    if (request.types) types_.insert(request.types->begin(), request.types->end());
    for (const auto& room : request.room) {
      room_.push_back(static_cast<int64_t>(room.max));
      for (const std::string& type : room.types) room_of_[type] = room_.size() - 1;
    }
  }

  ClaimResult run() {
    // A lane that another process has added since is found by their number.
    while (!gather()) {
      transaction_.rollback_to_start();
      parts_.lanes.load(transaction_.outside());
    }
    if (!alive_) return {};
    count_running();
    for (const auto& from : request_.queues)
      if (!settings_.of_queue(from.queue).paused)
        choose({from.queue, std::min(from.max, room_in(from.queue))});
    result_.skipped_types.assign(skipped_.begin(), skipped_.end());
    take();
    return std::move(result_);
  }

 private:
  // What the session runs of queues with a limit, only when there is one.
  void count_running() {
    bool limited = std::ranges::any_of(request_.queues, [&](const auto& from) {
      return concurrency_of(from.queue) != kUnlimited;
    });
    if (!limited) return;
    Rows rows = transaction_.query(kRunning, Parameters::of(request_.session));
    for (int i = 0; i < rows.size(); ++i)
      running_[std::string(rows.text(i, 0))] = rows.integer(i, 1);
  }

  int64_t concurrency_of(const std::string& queue) const {
    return settings_.of_queue(queue).limits.in_force(&QueueLimits::concurrency);
  }

  size_t room_in(const std::string& queue) {
    int64_t limit = concurrency_of(queue);
    return static_cast<size_t>(limit - std::min(limit, running_[queue]));
  }

  // False when there are lanes that this process has not heard of.
  bool gather() {
    candidates_.clear();
    foreign_.clear();
    transaction_.send(kHoldSession, Parameters::of(request_.session));
    size_t situation = transaction_.send(kSituation, Parameters::of(request_.session));
    SettingsQuery settings = send_settings(transaction_);
    size_t known = parts_.lanes.size();
    select();
    transaction_.flush();
    const Rows& facts = transaction_.rows(situation);
    alive_ = facts.integer(0, 0) != 0;
    if (static_cast<size_t>(facts.integer(0, 1)) > known) return false;
    settings_ = read_settings(transaction_, settings);
    read(known_rows_, false);
    read(suspect_rows_, true);
    const Rows& foreign = transaction_.rows(foreign_rows_);
    for (int i = 0; i < foreign.size(); ++i) add(foreign_, foreign, i, 1, false);
    const Rows& next = transaction_.rows(next_due_row_);
    if (!next.is_null(0, 0)) result_.next_due_at = next.time(0, 0);
    return true;
  }

  void select() {
    Array lanes = Array::numbers(), most = Array::numbers(), few = Array::numbers(),
          strange = Array::numbers(), one = Array::numbers(), every = Array::numbers();
    for (const auto& from : request_.queues)
      for (const Lane& lane : parts_.lanes.of_queue(from.queue)) {
        every.add(lane.id);
        if (!types_.contains(lane.type)) {
          strange.add(lane.id);
          one.add(int64_t{1});
          continue;
        }
        auto wanted = static_cast<int64_t>(from.max) + 1;  // one more tells whether there is more
        lanes.add(lane.id);
        wanted = std::min(wanted, room_for(lane.type));
        most.add(wanted);
        few.add(std::min(suspects_left_, wanted));
      }
    TimePoint now = transaction_.now();
    int64_t last_place = order_of(now, -limits::kPriorityMax);
    known_rows_ = transaction_.send(kCandidates, Parameters::of(lanes, most, last_place, now));
    suspect_rows_ = transaction_.send(kSuspects, Parameters::of(lanes, few, last_place, now));
    foreign_rows_ = transaction_.send(kForeign, Parameters::of(strange, one, last_place, now));
    next_due_row_ = transaction_.send(kNextDue, Parameters::of(every, now));
  }

  void read(size_t index, bool suspect) {
    const Rows& rows = transaction_.rows(index);
    for (int i = 0; i < rows.size(); ++i) add(candidates_, rows, i, 2, suspect);
  }

  void add(std::map<std::string, std::vector<Candidate>>& to, const Rows& rows, int row, int column,
           bool suspect) {
    Lane lane = parts_.lanes.lane(transaction_, rows.integer(row, 0));
    std::string queue = lane.queue;
    to[queue].push_back({rows.integer(row, column), TaskKey{rows.integer(row, column + 1)},
                         std::move(lane), suspect});
  }

  void choose(const ClaimRequest::FromQueue& from) {
    auto& candidates = candidates_[from.queue];
    std::sort(candidates.begin(), candidates.end());
    const Candidate* left_behind = nullptr;  // the best one that was wanted, but not asked for
    size_t taken = 0;
    for (const Candidate& candidate : candidates) {
      if (!wanted(candidate)) continue;
      if (taken == from.max) {
        left_behind = &candidate;
        break;
      }
      if (auto room = room_of_.find(candidate.lane.type); room != room_of_.end())
        --room_[room->second];
      if (candidate.suspect) --suspects_left_;
      chosen_.push_back(candidate);
      ++taken;
    }
    result_.more |= left_behind != nullptr;
    for (const Candidate& foreign : foreign_[from.queue])
      if (left_behind == nullptr || foreign < *left_behind) skipped_.insert(foreign.lane.type);
  }

  bool wanted(const Candidate& candidate) const {
    if (candidate.suspect && suspects_left_ <= 0) return false;
    return room_for(candidate.lane.type) > 0;
  }

  int64_t room_for(const std::string& type) const {
    auto room = room_of_.find(type);
    return room == room_of_.end() ? kUnlimited : room_[room->second];
  }

  void take() {
    if (chosen_.empty()) return;
    Array keys = Array::numbers();
    for (const Candidate& candidate : chosen_) keys.add(candidate.key);
    size_t taken =
        transaction_.send(kTake, Parameters::of(keys, request_.session, transaction_.now()));
    size_t payloads = transaction_.send(kPayloads, Parameters::of(keys));
    transaction_.flush();
    std::map<TaskKey, ClaimedTask> tasks;
    Array edited = Array::numbers();
    const Rows& rows = transaction_.rows(taken);
    for (int i = 0; i < rows.size(); ++i) {
      LiveRow row = decode_live(rows, i);
      if (row.live.edits > 0) edited.add(row.key);
      ClaimedTask& task = tasks[row.key];
      task.key = row.key;
      task.priority = row.priority;
      task.live = row.live;
    }
    const Rows& inputs = transaction_.rows(payloads);
    for (int i = 0; i < inputs.size(); ++i) {
      ClaimedTask& task = tasks[TaskKey{inputs.integer(i, 0)}];
      task.input = inputs.text(i, 1);
      task.options = decode_options(inputs.text(i, 2));
    }
    if (edited.size() > 0) {
      Rows newer = transaction_.query(kEditedInputs, Parameters::of(edited));
      for (int i = 0; i < newer.size(); ++i)
        tasks[TaskKey{newer.integer(i, 0)}].input = newer.text(i, 1);
    }
    for (const Candidate& candidate : chosen_) {
      ClaimedTask& task = tasks[candidate.key];
      task.type = candidate.lane.type;
      task.queue = candidate.lane.queue;
      result_.tasks.push_back(std::move(task));
    }
  }

  Parts& parts_;
  Transaction& transaction_;
  const ClaimRequest& request_;
  int64_t suspects_left_;
  std::set<std::string> types_;
  std::vector<int64_t> room_;
  std::map<std::string, size_t> room_of_;  // type -> place in room_
  bool alive_ = false;
  Settings settings_;
  std::map<std::string, int64_t> running_;  // by queue
  size_t known_rows_ = 0, suspect_rows_ = 0, foreign_rows_ = 0, next_due_row_ = 0;
  std::map<std::string, std::vector<Candidate>> candidates_, foreign_;  // by queue
  std::vector<Candidate> chosen_;
  std::set<std::string> skipped_;
  ClaimResult result_;
};

}  // namespace

ClaimResult PostgresTasks::claim(const ClaimRequest& request) {
  ClaimResult result;
  parts_.writers.run("claim", [&](Transaction& transaction) {
    result = Claiming(parts_, transaction, request).run();
  });
  return result;
}

}  // namespace opscore::postgres
