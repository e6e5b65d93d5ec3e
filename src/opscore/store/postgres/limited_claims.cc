// Claims with limits: of what a session may run of a queue, or a worker of an actor, or of
// suspects. Each lane of a queue, and its suspects apart, is a source; the best of all sources is
// next. Rows are locked as they are looked at.

#include <algorithm>

#include "opscore/store/postgres/claims.h"

namespace opscore::postgres {
namespace {

constexpr Statement kSituation{
    "claim_situation",
    "SELECT EXISTS(SELECT 1 FROM sessions WHERE id = $1::bigint AND ended IS NULL), "
    "(SELECT count(*) FROM lanes)"};
constexpr Statement kRunning{
    "running_of_session",
    "SELECT n.queue, count(*) FROM live l JOIN lanes n ON n.lane = l.lane WHERE "
    "l.session = $1::bigint AND l.state + 0 = 3 GROUP BY n.queue"};
constexpr Statement kCandidates{
    "claim_candidates",
    "SELECT s.lane, false, c.place, c.key FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) "
    "s(lane, most, first) CROSS JOIN LATERAL (SELECT l.place, l.key FROM live l "
    "WHERE " OPSCORE_DUE_ROW("$4", "$5") " AND NOT l.suspect ORDER BY " OPSCORE_BEST_FIRST
                                         " LIMIT s.most FOR UPDATE SKIP LOCKED) c"};
constexpr Statement kSuspects{
    "claim_suspects",
    "SELECT s.lane, true, c.place, c.key FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) "
    "s(lane, most, first) CROSS JOIN LATERAL (SELECT l.place, l.key FROM live l "
    "WHERE " OPSCORE_DUE_ROW("$4", "$5") " AND l.suspect ORDER BY " OPSCORE_BEST_FIRST
                                         " LIMIT s.most FOR UPDATE SKIP LOCKED) c"};
constexpr Statement kTake{
    "claim_take", "WITH taken AS (" OPSCORE_TAKE(
                      "$2", "$3") " WHERE key = ANY($1::bigint[]) RETURNING " OPSCORE_LIVE_COLUMNS
                                  ") SELECT " OPSCORE_LIVE_COLUMNS
                                  ", 0, t.input, t.options FROM taken l" OPSCORE_PAYLOAD};

struct Candidate {
  Standing standing;
  const ClaimedLanes::Source* source = nullptr;
  bool suspect = false;
  bool operator<(const Candidate& other) const { return standing < other.standing; }
};

class Claiming {
 public:
  Claiming(Parts& parts, Transaction& transaction, const ClaimRequest& request)
      : parts_(parts),
        transaction_(transaction),
        request_(request),
        suspects_left_(static_cast<int64_t>(request.suspects)) {
    for (const auto& room : request.room) {
      room_.push_back(static_cast<int64_t>(room.max));
      for (const std::string& type : room.types) room_of_[type] = room_.size() - 1;
    }
  }

  ClaimResult run() {
    if (transaction_.again()) parts_.floors.reset();  // others have passed over what it had locked
    known_ = parts_.settings.of(transaction_);
    // A lane that another process has added since is found by their number.
    while (!gather()) {
      transaction_.rollback_to_start();
      parts_.lanes.load(transaction_.outside());
    }
    if (!alive_) return {};
    count_running();
    for (size_t i = 0; i < request_.queues.size(); ++i) {
      const auto& from = request_.queues[i];
      if (!known_->settings.of_queue(from.queue).paused)
        choose(i, std::min(from.max, room_in(from.queue)));
    }
    lanes_->answer(transaction_, result_, left_behind_);
    take();
    return std::move(result_);
  }

  // Once it is committed. A lane that was looked at to its end has nothing more.
  void raise_floors() {
    if (!alive_) return;
    for (const auto& source : lanes_->known()) {
      if (source.paused) continue;
      std::optional<int64_t> last, left;
      int64_t found = 0;
      for (const Candidate& candidate : candidates_[source.queue]) {
        if (candidate.source != &source || candidate.suspect) continue;
        ++found;
        last = candidate.standing.place;
        if (!left && !chosen_keys_.contains(candidate.standing.key)) left = last;
      }
      bool cut = found >= wanted_from_[source.lane.id];
      lanes_->raise(source, left   ? *left
                            : !cut ? lanes_->last_place()
                                   : last.value_or(source.first));
    }
  }

 private:
  // What the session runs of queues with a limit, only when there is one.
  void count_running() {
    bool limited = std::ranges::any_of(
        request_.queues, [&](const auto& from) { return known_->limits_concurrency(from.queue); });
    if (!limited) return;
    Rows rows = transaction_.query(kRunning, Parameters::of(request_.session));
    for (int i = 0; i < rows.size(); ++i)
      running_[std::string(rows.text(i, 0))] = rows.integer(i, 1);
  }

  size_t room_in(const std::string& queue) {
    int64_t limit = known_->settings.of_queue(queue).limits.in_force(&QueueLimits::concurrency);
    return static_cast<size_t>(limit - std::min(limit, running_[queue]));
  }

  // False when there are lanes that this process has not heard of.
  bool gather() {
    candidates_.clear();
    lanes_.emplace(parts_, request_, known_->settings, transaction_.now());
    transaction_.send(kHoldSession, Parameters::of(request_.session));
    expect_same(transaction_, *known_);
    size_t situation = transaction_.send(kSituation, Parameters::of(request_.session));
    size_t lanes_known = parts_.lanes.size();
    select();
    lanes_->ask(transaction_);
    transaction_.flush();
    const Rows& facts = transaction_.rows(situation);
    alive_ = facts.integer(0, 0) != 0;
    if (static_cast<size_t>(facts.integer(0, 1)) > lanes_known) return false;
    read(candidate_rows_, false);
    read(suspect_rows_, true);
    return true;
  }

  void select() {
    Array lanes = Array::numbers(), most = Array::numbers(), few = Array::numbers(),
          first = Array::numbers(), anywhere = Array::numbers();
    for (const auto& source : lanes_->known()) {
      // One more tells whether there is more.
      auto wanted = static_cast<int64_t>(request_.queues[source.queue].max) + 1;
      wanted = std::min(wanted, room_for(source.lane.type));
      lanes.add(source.lane.id);
      most.add(wanted);
      wanted_from_[source.lane.id] = wanted;
      few.add(std::min(suspects_left_, wanted));
      first.add(source.first);
      anywhere.add(kFirstPlace);
    }
    int64_t last = lanes_->last_place();
    TimePoint now = transaction_.now();
    candidate_rows_ = transaction_.send(kCandidates, Parameters::of(lanes, most, first, last, now));
    suspect_rows_ = transaction_.send(kSuspects, Parameters::of(lanes, few, anywhere, last, now));
  }

  void read(size_t index, bool suspect) {
    const Rows& rows = transaction_.rows(index);
    for (int i = 0; i < rows.size(); ++i) {
      const auto* source = lanes_->find(rows.integer(i, 0));
      candidates_[source->queue].push_back(
          {{rows.integer(i, 2), TaskKey{rows.integer(i, 3)}}, source, suspect});
    }
  }

  void choose(size_t queue, size_t most) {
    auto& candidates = candidates_[queue];
    std::sort(candidates.begin(), candidates.end());
    size_t taken = 0;
    for (const Candidate& candidate : candidates) {
      if (!wanted(candidate)) continue;
      if (taken == most) {
        left_behind_[queue] =
            candidate.standing;  // the best one that was wanted, but not asked for
        result_.more = true;
        break;
      }
      if (auto room = room_of_.find(candidate.source->lane.type); room != room_of_.end())
        --room_[room->second];
      if (candidate.suspect) --suspects_left_;
      chosen_.push_back(candidate);
      ++taken;
    }
  }

  bool wanted(const Candidate& candidate) const {
    if (candidate.suspect && suspects_left_ <= 0) return false;
    return room_for(candidate.source->lane.type) > 0;
  }

  int64_t room_for(const std::string& type) const {
    auto room = room_of_.find(type);
    return room == room_of_.end() ? kUnlimited : room_[room->second];
  }

  void take() {
    if (chosen_.empty()) return;
    Array keys = Array::numbers();
    std::map<TaskKey, const Candidate*> by_key;
    for (const Candidate& candidate : chosen_) {
      keys.add(candidate.standing.key);
      by_key[candidate.standing.key] = &candidate;
      chosen_keys_.insert(candidate.standing.key);
    }
    Rows rows =
        transaction_.query(kTake, Parameters::of(keys, request_.session, transaction_.now()));
    std::map<TaskKey, ClaimedTask> tasks;
    for (int i = 0; i < rows.size(); ++i) {
      TaskKey key{rows.integer(i, 0)};
      tasks[key] = decode_claimed(rows, i, by_key.at(key)->source->lane);
    }
    for (const Candidate& candidate : chosen_)
      result_.tasks.push_back(std::move(tasks[candidate.standing.key]));
  }

  Parts& parts_;
  Transaction& transaction_;
  const ClaimRequest& request_;
  int64_t suspects_left_;
  std::vector<int64_t> room_;
  std::map<std::string, size_t> room_of_;  // type -> place in room_
  bool alive_ = false;
  std::shared_ptr<const KnownSettings> known_;
  std::optional<ClaimedLanes> lanes_;
  std::map<std::string, int64_t> running_;  // by queue
  size_t candidate_rows_ = 0, suspect_rows_ = 0;
  std::map<size_t, std::vector<Candidate>> candidates_;  // by queue
  std::map<size_t, Standing> left_behind_;               // by queue
  std::vector<Candidate> chosen_;
  std::set<TaskKey> chosen_keys_;
  std::map<LaneId, int64_t> wanted_from_;
  ClaimResult result_;
};

}  // namespace

ClaimResult claim_with_limits(Parts& parts, const ClaimRequest& request) {
  ClaimResult result;
  std::optional<Claiming> claiming;
  parts.writers.run("claim", [&](Transaction& transaction) {
    claiming.emplace(parts, transaction, request);
    result = claiming->run();
  });
  claiming->raise_floors();
  return result;
}

}  // namespace opscore::postgres
