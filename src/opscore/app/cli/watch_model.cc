// From answers of the server to views: rates, latencies, history.

#include <fmt/format.h>

#include <algorithm>

#include "opscore/app/cli/watch_view.h"

namespace opscore {
namespace {

constexpr size_t kHistory = 60;  // looks; no sparkline is longer

WatchRow row_of(const Json& queue) {
  WatchRow row;
  row.name = queue.at("name").get<std::string>();
  row.paused = queue.at("paused").get<bool>();
  row.pending = queue.at("pending").get<int64_t>();
  row.running = queue.at("running").get<int64_t>();
  row.scheduled = queue.at("scheduled").get<int64_t>();
  row.waiting = queue.at("waiting").get<int64_t>();
  row.failed = queue.at("dead").get<int64_t>();
  row.slots = queue.at("slots").get<int>();
  if (const Json& age = queue.at("oldest_pending_age_s"); !age.is_null())
    row.oldest = Duration(static_cast<int64_t>(age.get<double>() * 1000));
  return row;
}

std::vector<WatchRow> read_queues(const std::string& text) {
  std::vector<WatchRow> rows;
  try {
    const Json answer = Json::parse(text);
    for (const Json& queue : answer.at("queues")) rows.push_back(row_of(queue));
  } catch (const Json::exception& error) {
    throw Error(Errc::malformed, fmt::format("read the queues: the server's answer is not what "
                                             "opscore's is: {}",
                                             error.what()));
  }
  return rows;
}

WatchRow sum_of(const std::vector<WatchRow>& queues) {
  WatchRow total;
  for (const WatchRow& queue : queues) {
    total.pending += queue.pending;
    total.running += queue.running;
    total.scheduled += queue.scheduled;
    total.waiting += queue.waiting;
    total.failed += queue.failed;
    total.slots = std::max(total.slots, queue.slots);
    total.oldest = std::max(total.oldest, queue.oldest);
  }
  return total;
}

void remember(Latencies& latencies, std::optional<double> latency) {
  latencies.push_back(latency);
  if (latencies.size() > kHistory) latencies.pop_front();
}

// All types of a queue, or all queues of a type; "" has everything.
std::map<std::string, Counts> grouped(const std::map<TypeAndQueue, Counts>& counts, WatchOf of) {
  std::map<std::string, Counts> groups;
  for (const auto& [name, one] : counts) {
    groups[of == WatchOf::types ? name.first : name.second].add(one);
    groups[""].add(one);
  }
  return groups;
}

// The server's process is another one than before: its counters began anew.
bool began_anew(const std::map<TypeAndQueue, Counts>& before,
                const std::map<TypeAndQueue, Counts>& now) {
  return std::any_of(before.begin(), before.end(), [&](const auto& entry) {
    auto found = now.find(entry.first);
    return found == now.end() || found->second.submitted < entry.second.submitted ||
           found->second.run.total() < entry.second.run.total();
  });
}

}  // namespace

Watch::Watch(WatchOf of, std::string server, Duration interval) {
  view_.of = of;
  view_.server = std::move(server);
  view_.interval = interval;
}

void Watch::look(const std::string& queues, const std::string& metrics, SteadyPoint steady,
                 TimePoint now) {
  std::vector<WatchRow> listed = read_queues(queues);
  auto counts = read_metrics(metrics);
  if (began_anew(last_, counts)) last_.clear();
  auto before = grouped(last_, view_.of), after = grouped(counts, view_.of);
  WatchRow total = sum_of(listed);
  if (view_.of == WatchOf::types) {
    listed.clear();
    for (const auto& [name, unused] : after)
      if (!name.empty()) listed.emplace_back().name = name;
  }
  std::optional<double> seconds;
  if (last_at_) seconds = std::chrono::duration<double>(steady - *last_at_).count();
  auto settle = [&](WatchRow& row, const WatchRow* earlier) {
    if (earlier) row.waits = earlier->waits, row.runs = earlier->runs;
    if (seconds && *seconds > 0) row.pace = pace_of(after[row.name], before[row.name], *seconds);
    remember(row.waits, row.pace.wait_s);
    remember(row.runs, row.pace.run_s);
  };
  for (WatchRow& row : listed) {
    auto found = std::find_if(view_.rows.begin(), view_.rows.end(),
                              [&](const WatchRow& earlier) { return earlier.name == row.name; });
    settle(row, found == view_.rows.end() ? nullptr : &*found);
  }
  settle(total, &view_.total);
  std::sort(listed.begin(), listed.end(),
            [](const WatchRow& a, const WatchRow& b) { return a.name < b.name; });
  view_.rows = std::move(listed);
  view_.total = std::move(total);
  view_.at = now;
  view_.away.clear();
  last_ = std::move(counts);
  last_at_ = steady;
}

void Watch::miss(std::string why, TimePoint now) {
  view_.away = std::move(why);
  view_.at = now;
}

Pace pace_of(const Counts& now, const Counts& before, double seconds) {
  Pace pace;
  pace.submitted = (now.submitted - before.submitted) / seconds;
  pace.completed = (now.completed - before.completed) / seconds;
  pace.failed = (now.failed - before.failed) / seconds;
  pace.wait_s = now.wait.quantile_since(before.wait, 0.5);
  pace.run_s = now.run.quantile_since(before.run, 0.5);
  return pace;
}

}  // namespace opscore
