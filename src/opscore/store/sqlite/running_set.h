#pragma once
// The attempts that run, in memory: who holds what, without a scan of the file. Changes take effect
// at once and are undone by rollback(). Belongs to the writing thread.

#include <algorithm>
#include <optional>
#include <ranges>
#include <unordered_map>
#include <vector>

#include "opscore/model/task.h"
#include "opscore/store/sqlite/lanes.h"

namespace opscore::sqlite {

struct Running {
  LaneId lane = 0;
  SessionId session;
  bool started = false;  // its start is on record
  bool cancel_requested = false;
};

class RunningSet {
 public:
  const Running* find(TaskKey key) const {
    auto found = running_.find(key);
    return found == running_.end() ? nullptr : &found->second;
  }
  void set(TaskKey key, const Running& running) {
    journal(key);
    running_[key] = running;
  }
  void erase(TaskKey key) {
    journal(key);
    running_.erase(key);
  }
  std::vector<std::pair<TaskKey, Running>> held_by(SessionId session) const {
    std::vector<std::pair<TaskKey, Running>> held;
    for (const auto& entry : running_)
      if (entry.second.session == session) held.push_back(entry);
    std::ranges::sort(held, {}, [](const auto& entry) { return entry.first; });
    return held;
  }

  template <class Wanted>
  size_t count_if(Wanted wanted) const {
    return static_cast<size_t>(
        std::ranges::count_if(running_, [&](const auto& entry) { return wanted(entry.second); }));
  }

  void commit() { before_.clear(); }
  void rollback() {
    for (auto& [key, running] : std::views::reverse(before_)) {
      if (running)
        running_[key] = *running;
      else
        running_.erase(key);
    }
    before_.clear();
  }

 private:
  void journal(TaskKey key) {
    const Running* now = find(key);
    before_.emplace_back(key, now ? std::optional(*now) : std::nullopt);
  }

  std::unordered_map<TaskKey, Running> running_;
  std::vector<std::pair<TaskKey, std::optional<Running>>> before_;
};

}  // namespace opscore::sqlite
