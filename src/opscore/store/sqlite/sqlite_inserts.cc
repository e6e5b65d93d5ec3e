// Inserting: uniqueness keys first, for the whole batch, then the rows. Nothing is written for a
// batch that is refused.

#include <fmt/format.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <tuple>

#include "opscore/model/decide.h"
#include "opscore/model/handover.h"
#include "opscore/store/insert_one_by_one.h"
#include "opscore/store/sqlite/sqlite_parts.h"

namespace opscore::sqlite {
namespace {

constexpr int64_t kDiskCheckEveryMs = 100;

// At most about this, in the log and then in the file.
int64_t bytes_on_disk(const std::vector<InsertItem>& items) {
  constexpr size_t kRow = 512;
  size_t bytes = 0;
  for (const InsertItem& item : items)
    bytes += kRow + item.spec.input.size() + item.spec.options.metadata.size() + item.origin.size();
  return static_cast<int64_t>(2 * bytes);
}

class Inserting {
 public:
  Inserting(WriteSide& side, std::span<InsertItem> items) : side_(side), items_(items) {}

  std::vector<InsertResult> run(InsertMode mode) {
    now_ = side_.clock.now();
    std::vector<InsertResult> results;
    results.reserve(items_.size());
    bool refused = false;
    for (InsertItem& item : items_) {
      results.push_back(resolve(item));
      refused |= results.back().refused();
    }
    if (refused && mode == InsertMode::all_or_nothing) {
      for (InsertResult& result : results)
        if (is_new(result.key)) result.key = TaskKey{};
      return results;
    }
    for (size_t i = 0; i < items_.size(); ++i)
      if (results[i].kind == InsertResult::Kind::inserted) write(items_[i], results[i].key);
    return results;
  }

 private:
  using KeyName = std::tuple<UniqueKey::Kind, std::string, std::string>;

  bool is_new(TaskKey key) const { return first_ != TaskKey{} && key >= first_; }

  InsertResult resolve(InsertItem& item) {
    if (item.on_conflict == InsertItem::OnConflict::derive_id) {
      // A message that was adopted before is the same task, under whichever id it got.
      for (const UniqueKey& key : item.keys)
        if (key.kind == UniqueKey::Kind::message_id)
          if (auto taken = find_taken(key)) return replay_of(*taken);
      derive_id_if_taken(item);
    }
    for (const UniqueKey& key : item.keys)
      if (auto taken = find_taken(key)) return answer_taken(item, key, *taken);
    if (auto refused = refuse(item.spec)) return *refused;
    InsertResult result;
    result.key = side_.keys.next(now_);
    if (first_ == TaskKey{}) first_ = result.key;
    result.state = decide_submit(item.spec, now_).state;
    for (const UniqueKey& key : item.keys)
      fresh_[{key.kind, key.scope, key.key}] = {result.key, item.request_hash, result.state};
    return result;
  }

  std::optional<InsertResult> refuse(const TaskSpec& spec) {
    auto queue = side_.has_queue_settings() ? side_.lanes.find_queue(spec.queue) : std::nullopt;
    const QueueSettings* settings = queue ? side_.settings_of(*queue) : nullptr;
    if (!settings) return std::nullopt;
    auto counts = side_.tally.counts(*queue);
    int64_t waiting = counts[static_cast<size_t>(State::pending)] +
                      counts[static_cast<size_t>(State::scheduled)] + accepted_[*queue];
    auto refused = refuse_by_limits(settings->limits, waiting, spec.input.size());
    if (!refused && !spec.waiting) ++accepted_[*queue];
    return refused;
  }

  std::optional<TakenKey> find_taken(const UniqueKey& key) {
    auto fresh = fresh_.find({key.kind, key.scope, key.key});
    if (fresh != fresh_.end()) return fresh->second;
    auto row = side_.queries.unique_key(static_cast<int>(key.kind), key.scope, key.key);
    if (!row) return std::nullopt;
    auto state = side_.queries.state(row->task);
    if (!state)
      throw Error(Errc::corrupt,
                  fmt::format("key '{}' belongs to no task in '{}'", key.key, side_.db.path()));
    return TakenKey{row->task, std::move(row->hash), *state};
  }

  void derive_id_if_taken(InsertItem& item) {
    using Kind = UniqueKey::Kind;
    for (UniqueKey& key : item.keys)
      if (key.kind == Kind::task_id && find_taken(key)) {
        take_derived_id(item.spec.options, item.message_id);
        key.key = item.spec.options.id;
      }
  }

  void write(const InsertItem& item, TaskKey key) {
    const TaskSpec& spec = item.spec;
    if (lane_ == nullptr || lane_->queue != spec.queue || lane_->type != spec.type)
      lane_ = &side_.lanes.intern(spec.queue, spec.type);
    side_.edits.insert_task(key, lane_->id, spec);
    LiveRow row{key, lane_->id, spec.priority, decide_submit(spec, now_), expiry_of(spec.options),
                {}};
    side_.edits.insert_live(row);
    if (!row.live.claimable()) side_.post(handover_row(key, spec.queue, row.live.attempt, now_));
    for (const UniqueKey& unique : item.keys)
      side_.edits.insert_unique_key(static_cast<int>(unique.kind), unique.scope, unique.key, key,
                                    item.request_hash);
    if (!item.origin.empty()) side_.edits.insert_origin(key, item.message_id, item.origin);
    side_.enter(row);
  }

  WriteSide& side_;
  std::span<InsertItem> items_;
  TimePoint now_{};
  TaskKey first_{};
  const Lane* lane_ = nullptr;  // of the last item; most batches are of one kind
  std::map<KeyName, TakenKey> fresh_;
  std::map<QueueId, int64_t>
      accepted_;  // by this batch and not counted yet, of queues with settings
};

}  // namespace

std::vector<InsertResult> SqliteTasks::insert(std::vector<InsertItem> items, InsertMode mode) {
  check_disk(bytes_on_disk(items));
  auto insert_some = [&](std::span<InsertItem> some) {
    std::vector<InsertResult> results;
    parts_.write("insert", some.size(), Committer::Kind::adds_work,
                 [&](WriteSide& side) { results = Inserting(side, some).run(mode); });
    return results;
  };
  try {
    return insert_some(items);
  } catch (const Error& error) {
    if (mode == InsertMode::all_or_nothing || items.size() == 1 || error.retryable()) throw;
    return insert_one_by_one(
        items, [&](InsertItem& item) { return std::move(insert_some({&item, 1})[0]); });
  }
}

// What is in the log needs its space a second time, in the file.
int64_t SqliteTasks::wal_bytes(const std::string& path) {
  std::error_code absent;
  auto bytes = std::filesystem::file_size(path + "-wal", absent);
  return absent ? 0 : static_cast<int64_t>(bytes);
}

// Looked at now and then, by whoever comes by: asking the file system for each task would be dear.
// In between, what is inserted is taken off.
void SqliteTasks::check_disk(int64_t bytes) {
  if (parts_.disk_reserve_bytes <= 0) return;
  int64_t now =
      std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch())
          .count();
  int64_t checked = disk_checked_ms_.load();
  if (now - checked >= kDiskCheckEveryMs &&
      disk_checked_ms_.compare_exchange_strong(checked, now)) {
    struct statvfs info{};
    auto folder = std::filesystem::absolute(parts_.path).parent_path();
    if (::statvfs(folder.c_str(), &info) == 0)
      disk_free_ = static_cast<int64_t>(info.f_bavail) * static_cast<int64_t>(info.f_frsize) -
                   wal_bytes(parts_.path);
  }
  const int64_t is_left = disk_free_ -= bytes;
  if (is_left >= parts_.disk_reserve_bytes) return;
  const int64_t is_free = disk_free_ += bytes;  // nothing of it is written
  throw Error(Errc::disk_low,
              fmt::format("insert: only {} MiB are free where '{}' is, and {} MiB are kept for "
                          "finishing what was accepted; free some space",
                          std::max<int64_t>(is_free, 0) / (1 << 20), parts_.path,
                          parts_.disk_reserve_bytes / (1 << 20)));
}

}  // namespace opscore::sqlite
