#include "opscore/store/sqlite/filter_walk.h"

#include <fmt/format.h>

namespace opscore::sqlite {
namespace {

// A query names the index it relies on.
const char* walk_sql(StateSet states) {
  if (states.only_of(StateSet(State::failed, State::cancelled)))
    return "SELECT w.key, w.state, t.lane, t.options FROM outcomes w INDEXED BY "
           "outcomes_not_completed JOIN tasks t ON t.key = w.key WHERE w.state <> 4 AND";
  if (states.only_of(StateSet(State::completed, State::failed, State::cancelled)))
    return "SELECT w.key, w.state, t.lane, t.options FROM outcomes w CROSS JOIN tasks t ON t.key = "
           "w.key WHERE";
  if (states.only_of(StateSet(State::scheduled, State::waiting, State::pending, State::running)))
    return "SELECT w.key, w.state, t.lane, t.options FROM live w CROSS JOIN tasks t ON t.key = "
           "w.key WHERE";
  return "SELECT w.key, NULL, w.lane, w.options FROM tasks w WHERE";
}

}  // namespace

FilterWalk::FilterWalk(ReadSide& side, const TaskFilter& filter, const KeyRange& range, Order order)
    : side_(side),
      filter_(filter),
      sql_(fmt::format("{} w.key >= ? AND w.key < ? ORDER BY w.key{}", walk_sql(filter.states),
                       order == Order::newest_first ? " DESC" : "")),
      walk_(side.db, sql_.c_str()),
      rows_(walk_.query(range.first.value, range.end.value)) {}

std::optional<State> FilterWalk::match() {
  if (!filter_.type.empty() || !filter_.queue.empty()) {
    const Lane& lane = side_.queries.lane_named(static_cast<LaneId>(rows_.integer(2)));
    if (!filter_.type.empty() && lane.type != filter_.type) return std::nullopt;
    if (!filter_.queue.empty() && lane.queue != filter_.queue) return std::nullopt;
  }
  if (!filter_.labels.empty() &&
      (rows_.is_null(3) || !has_labels(filter_, decode_options(rows_.text(3)))))
    return std::nullopt;
  auto state = rows_.is_null(1) ? side_.queries.state(key())
                                : std::optional(static_cast<State>(rows_.integer(1)));
  if (!state || (!filter_.states.empty() && !filter_.states.has(*state))) return std::nullopt;
  return state;
}

}  // namespace opscore::sqlite
