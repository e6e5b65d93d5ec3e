#include "opscore/worker/split_runner.h"

#include <algorithm>
#include <set>

#include "opscore/model/limits.h"

namespace opscore {
namespace {

using Rooms = std::vector<ClaimRequest::Room>;

// Adds the rooms of a runner, none larger than its appetite, and one for its types without a limit.
void add_rooms(const Runner& runner, Rooms& rooms) {
  const size_t appetite = runner.appetite(limits::kClaimAhead);
  const bool is_bounded = appetite < limits::kClaimBatch;
  std::set<std::string> limited;
  for (ClaimRequest::Room& room : runner.room()) {
    limited.insert(room.types.begin(), room.types.end());
    rooms.push_back({std::move(room.types), std::min(room.max, appetite)});
  }
  if (!is_bounded) return;
  ClaimRequest::Room rest;
  for (const std::string& type : *runner.types())
    if (!limited.contains(type)) rest.types.push_back(type);
  rest.max = appetite;
  if (!rest.types.empty()) rooms.push_back(std::move(rest));
}

}  // namespace

void SplitRunner::start(std::vector<ClaimedTask> tasks) {
  const auto hosted = hosted_.types();
  std::vector<ClaimedTask> own_tasks, hosted_tasks;
  for (ClaimedTask& task : tasks) {
    bool is_hosted = std::ranges::find(*hosted, task.type) != hosted->end();
    (is_hosted ? hosted_tasks : own_tasks).push_back(std::move(task));
  }
  if (!own_tasks.empty()) own_.start(std::move(own_tasks));
  if (!hosted_tasks.empty()) hosted_.start(std::move(hosted_tasks));
}

void SplitRunner::stop(const Lease& lease, StopReason reason) {
  own_.stop(lease, reason);
  hosted_.stop(lease, reason);
}

void SplitRunner::stop_all(StopReason reason) {
  own_.stop_all(reason);
  hosted_.stop_all(reason);
}

size_t SplitRunner::hand_back_unstarted(Duration age) {
  return own_.hand_back_unstarted(age) + hosted_.hand_back_unstarted(age);
}

std::shared_ptr<const std::vector<std::string>> SplitRunner::types() const {
  auto own = own_.types();
  auto hosted = hosted_.types();
  MutexLock lock(mutex_);
  if (own != types_.own || hosted != types_.hosted) {
    auto all = std::make_shared<std::vector<std::string>>(*own);
    all->insert(all->end(), hosted->begin(), hosted->end());
    types_ = {std::move(own), std::move(hosted), std::move(all)};
  }
  return types_.all;
}

Rooms SplitRunner::room() const {
  Rooms rooms;
  add_rooms(own_, rooms);
  add_rooms(hosted_, rooms);
  return rooms;
}

void SplitRunner::set_concurrency(std::map<std::string, int64_t> chosen) {
  own_.set_concurrency(chosen);
  hosted_.set_concurrency(std::move(chosen));
}

bool SplitRunner::holds(const Lease& lease) const {
  return own_.holds(lease) || hosted_.holds(lease);
}

size_t SplitRunner::free() const {
  return own_.free() + hosted_.free();
}

size_t SplitRunner::appetite(Duration ahead) const {
  return own_.appetite(ahead) + hosted_.appetite(ahead);
}

bool SplitRunner::idle() const {
  return own_.idle() && hosted_.idle();
}

void SplitRunner::fill(SessionReport& report) const {
  own_.fill(report);
  hosted_.fill(report);
}

}  // namespace opscore
