// The selection of a claim: which due tasks a worker gets, in which order.

#include <algorithm>
#include <map>
#include <set>
#include <string_view>

#include "opscore/store/sqlite/sqlite_parts.h"

namespace opscore::sqlite {
namespace {

// The due tasks of a lane, or its suspects. The best of all sources of a queue is next.
struct Source {
  const Lane* lane;
  bool suspect;
  Entry best;
};

struct WorseFirst {
  bool operator()(const Source& a, const Source& b) const {
    int64_t left = a.best.order(), right = b.best.order();
    return left != right ? left > right : a.best.key > b.best.key;
  }
};

bool before(const Entry& a, const Entry& b) {
  return a.order() != b.order() ? a.order() < b.order() : a.key < b.key;
}

class Claiming {
 public:
  Claiming(WriteSide& side, const ClaimRequest& request)
      : side_(side), request_(request), now_(side.clock.now()), suspects_left_(request.suspects) {
    if (request.types) types_.insert(request.types->begin(), request.types->end());
    for (const auto& room : request.room) {
      room_.push_back(room.max);
      for (const std::string& type : room.types) room_of_[type] = room_.size() - 1;
    }
  }

  Claims run() {
    for (const auto& from : request_.queues) {
      auto queue = side_.lanes.find_queue(from.queue);
      if (!queue) continue;
      size_t max = from.max;
      if (const QueueSettings* settings = side_.settings_of(*queue)) {
        if (settings->paused) continue;
        max = std::min(max, room_in(*queue, settings->limits));
      }
      side_.ready.advance(*queue, now_);
      claim_from(*queue, max);
      auto next = side_.ready.next_due_at(*queue);
      if (next && (!claims_.next_due_at || *next < *claims_.next_due_at))
        claims_.next_due_at = next;
    }
    claims_.skipped_types.assign(skipped_.begin(), skipped_.end());
    return std::move(claims_);
  }

 private:
  // How many of a queue the session may be given on top of what it runs of it.
  size_t room_in(QueueId queue, const LayeredLimits& limits) const {
    int64_t in_force = limits.in_force(&QueueLimits::concurrency);
    auto limit = static_cast<size_t>(in_force);
    if (in_force == kUnlimited) return limit;
    size_t running = side_.running.count_if([&](const Running& task) {
      return task.session == request_.session &&
             side_.queries.lane_named(task.lane).queue_id == queue;
    });
    return limit - std::min(limit, running);
  }

  void claim_from(QueueId queue, size_t max) {
    std::vector<Source> sources, foreign;
    for (const Lane* lane : side_.lanes.of_queue(queue)) {
      bool known = types_.contains(lane->type);
      for (bool suspect : {false, true})
        if (const Entry* best = claimable(*lane, suspect))
          (known ? sources : foreign).push_back({lane, suspect, *best});
    }
    std::ranges::make_heap(sources, WorseFirst());
    std::optional<Entry> left_behind;  // the best one that was wanted, but not asked for
    for (size_t taken = 0; !sources.empty();) {
      std::ranges::pop_heap(sources, WorseFirst());
      Source source = sources.back();
      sources.pop_back();
      if (!wanted(source)) continue;
      if (taken == max) {
        left_behind = source.best;
        break;
      }
      if (take(source)) ++taken;
      if (const Entry* next = claimable(*source.lane, source.suspect)) {
        sources.push_back({source.lane, source.suspect, *next});
        std::ranges::push_heap(sources, WorseFirst());
      }
    }
    claims_.more |= left_behind.has_value();
    for (const Source& source : foreign)
      if (!left_behind || before(source.best, *left_behind)) skipped_.insert(source.lane->type);
  }

  bool wanted(const Source& source) const {
    if (source.suspect && suspects_left_ == 0) return false;
    if (room_of_.empty()) return true;
    auto room = room_of_.find(source.lane->type);
    return room == room_of_.end() || room_[room->second] > 0;
  }

  // The best entry of a source; what is past its deadline waits aside to be expired.
  const Entry* claimable(const Lane& lane, bool suspect) {
    const Entry* best = side_.ready.best(lane.id, suspect);
    while (best != nullptr && best->has_deadline != 0) {
      auto row = side_.queries.live(best->key);
      if (!row || !row->deadline || *row->deadline > now_) break;
      side_.ready.park(lane.id, suspect);
      best = side_.ready.best(lane.id, suspect);
    }
    return best;
  }

  bool take(const Source& source) {
    const Lane& lane = *source.lane;
    Entry entry = source.best;
    side_.ready.take(lane, source.suspect);
    State from = State::pending;
    if (!claim_row(entry, from)) {
      from = State::scheduled;  // due, but not promoted yet
      if (!claim_row(entry, from)) {
        side_.log.error("task {} was in the ready list, but not in the file", entry.key.value);
        return false;
      }
    }
    side_.tally.add(lane.queue_id, from, -1);
    side_.tally.add(lane.queue_id, State::running);
    side_.running.set(entry.key, {lane.id, request_.session, false, false});
    if (source.suspect) --suspects_left_;
    if (auto room = room_of_.find(lane.type); room != room_of_.end()) --room_[room->second];
    claims_.keys.push_back(entry.key);
    return true;
  }

  bool claim_row(const Entry& entry, State from) {
    return side_.edits.claim_live(entry.key, from, entry.run_at, request_.session, now_);
  }

  WriteSide& side_;
  const ClaimRequest& request_;
  const TimePoint now_;
  size_t suspects_left_;
  std::set<std::string_view> types_;
  std::vector<size_t> room_;
  std::map<std::string_view, size_t> room_of_;  // type -> place in room_
  std::set<std::string> skipped_;
  Claims claims_;
};

}  // namespace

Claims claim_due(WriteSide& side, const ClaimRequest& request) {
  if (!side.alive(request.session)) return {};
  return Claiming(side, request).run();
}

}  // namespace opscore::sqlite
