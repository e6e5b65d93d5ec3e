#include "opscore/store/postgres/filter_walk.h"

#include <algorithm>

namespace opscore::postgres {
namespace {

constexpr size_t kLongStride = 1000;

// Over the table whose rows contain every match with the fewest others.
#define OPSCORE_WALK(from, key, order)                                                         \
  "SELECT " key ".key, coalesce(l.state, o.state), t.lane, t.options FROM " from " WHERE " key \
  ".key >= $1::bigint AND " key ".key < $2::bigint ORDER BY " key ".key " order                \
  " LIMIT $3::bigint"
#define OPSCORE_WALK_ALL(order)                                                    \
  OPSCORE_WALK(                                                                    \
      "tasks t LEFT JOIN live l ON l.key = t.key LEFT JOIN outcomes o ON o.key = " \
      "t.key",                                                                     \
      "t", order)
#define OPSCORE_WALK_LIVE(order)                                                                  \
  OPSCORE_WALK("live l JOIN tasks t ON t.key = l.key LEFT JOIN outcomes o ON o.key = l.key", "l", \
               order)
#define OPSCORE_WALK_FINISHED(order)                                                              \
  OPSCORE_WALK("outcomes o JOIN tasks t ON t.key = o.key LEFT JOIN live l ON l.key = o.key", "o", \
               order)
#define OPSCORE_WALK_NOT_COMPLETED(order)                                          \
  OPSCORE_WALK(                                                                    \
      "(SELECT * FROM outcomes WHERE state <> 4) o JOIN tasks t ON t.key = o.key " \
      "LEFT JOIN live l ON l.key = o.key",                                         \
      "o", order)

struct Pair {
  Statement newest_first, oldest_first;
};
constexpr Pair kAll{{"walk_all", OPSCORE_WALK_ALL("DESC")},
                    {"walk_all_up", OPSCORE_WALK_ALL("ASC")}};
constexpr Pair kLive{{"walk_live", OPSCORE_WALK_LIVE("DESC")},
                     {"walk_live_up", OPSCORE_WALK_LIVE("ASC")}};
constexpr Pair kFinished{{"walk_finished", OPSCORE_WALK_FINISHED("DESC")},
                         {"walk_finished_up", OPSCORE_WALK_FINISHED("ASC")}};
constexpr Pair kNotCompleted{{"walk_not_completed", OPSCORE_WALK_NOT_COMPLETED("DESC")},
                             {"walk_not_completed_up", OPSCORE_WALK_NOT_COMPLETED("ASC")}};

const Pair& walk_over(StateSet states) {
  if (states.only_of(StateSet(State::failed, State::cancelled))) return kNotCompleted;
  if (states.only_of(StateSet(State::completed, State::failed, State::cancelled))) return kFinished;
  if (states.only_of(StateSet(State::scheduled, State::waiting, State::pending, State::running)))
    return kLive;
  return kAll;
}

}  // namespace

FilterWalk::FilterWalk(Connection& connection, Lanes& lanes, const TaskFilter& filter,
                       KeyRange range, Order order, size_t stride)
    : connection_(connection),
      lanes_(lanes),
      filter_(filter),
      range_(range),
      order_(order),
      stride_(stride) {}

bool FilterWalk::next() {
  bool down = order_ == Order::newest_first;
  if (!rows_ || row_ + 1 == rows_->size()) {
    if (rows_ && static_cast<size_t>(rows_->size()) < stride_) return false;
    if (rows_) stride_ = std::max(stride_, kLongStride);
    const Pair& pair = walk_over(filter_.states);
    rows_ =
        connection_.query(down ? pair.newest_first : pair.oldest_first,
                          Parameters::of(range_.first, range_.end, static_cast<int64_t>(stride_)));
    row_ = -1;
    if (rows_->size() == 0) return false;
  }
  key_ = TaskKey{rows_->integer(++row_, 0)};
  (down ? range_.end : range_.first) = down ? key_ : TaskKey{key_.value + 1};
  return true;
}

std::optional<State> FilterWalk::match() {
  if (rows_->is_null(row_, 1)) return std::nullopt;  // it is being deleted
  auto state = static_cast<State>(rows_->integer(row_, 1));
  if (!filter_.states.empty() && !filter_.states.has(state)) return std::nullopt;
  if (!filter_.type.empty() || !filter_.queue.empty()) {
    Lane lane = lanes_.lane(connection_, rows_->integer(row_, 2));
    if (!filter_.type.empty() && lane.type != filter_.type) return std::nullopt;
    if (!filter_.queue.empty() && lane.queue != filter_.queue) return std::nullopt;
  }
  if (!filter_.labels.empty() && !has_labels(filter_, decode_options(rows_->text(row_, 3))))
    return std::nullopt;
  return state;
}

}  // namespace opscore::postgres
