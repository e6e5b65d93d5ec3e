#include "opscore/worker/external_watch.h"

#include "opscore/broker/dramatiq/message.h"
#include "opscore/model/handover.h"
#include "opscore/model/limits.h"
#include "opscore/model/report.h"

namespace opscore {
namespace {

constexpr Duration kLookEvery{60'000};
constexpr size_t kTasks = 1000;
constexpr size_t kWalkMax = 10'000;
constexpr size_t kWalkStep = 500;
// Until a task is looked at again whose message was there, and one of which nothing could be seen.
constexpr Duration kThere = std::chrono::hours(1);
constexpr Duration kUnseen = std::chrono::minutes(10);

std::string why_dead(const WalkedMessage& message) {
  for (const auto& [name, value] : message.headers)
    if (name == kReasonHeader) return value;
  return message.deaths.empty() ? "no reason given" : message.deaths.front().reason;
}

std::string id_in(const WalkedMessage& message) {
  auto decoded = decode_dramatiq(message.body);
  return decoded ? decoded->message_id : std::string();
}

}  // namespace

ExternalWatch::ExternalWatch(Store& store, ForeignBroker& broker, const Clock& clock, Log& log,
                             Metrics& metrics, ExternalWatchOptions options)
    : store_(store),
      broker_(broker),
      clock_(clock),
      log_(log),
      options_(std::move(options)),
      unknown_(metrics.counter("opscore_outcomes_unknown_total",
                               "Tasks that Python ran, perhaps, and that nobody ever reported.")),
      loop_("external-watch", log, [this](std::stop_token) { return step(); }) {}

Duration ExternalWatch::step() {
  if (!options_.leads()) {
    gone_.clear();
    return kLookEvery;
  }
  std::map<std::string, std::vector<Task>> by_queue;
  for (Task& task : store_.reader().doubtful(kTasks))
    by_queue[task.queue].push_back(std::move(task));
  gone_next_.clear();
  for (const auto& [queue, tasks] : by_queue) {
    const Sight sight = look(queue);
    for (const Task& task : tasks) judge(task, sight);
  }
  gone_ = std::move(gone_next_);
  return kLookEvery;
}

// What consumers hold comes first: a walk holds messages, too, and management counts them for a
// while yet. A message that moves from one queue to the other meanwhile is seen in the next round.
ExternalWatch::Sight ExternalWatch::look(const std::string& queue) {
  const std::string delayed = queue + std::string(kDelayedSuffix);
  Sight sight;
  sight.complete = holds_nothing(queue) && holds_nothing(delayed);
  for (const std::string& name : {delayed, queue})
    sight.complete &=
        walk(name, [&](const WalkedMessage& message) { sight.present.insert(id_in(message)); });
  walk(queue + std::string(kDeadSuffix),
       [&](const WalkedMessage& message) { sight.dead[id_in(message)] = why_dead(message); });
  return sight;
}

bool ExternalWatch::holds_nothing(const std::string& queue) {
  if (auto unanswered = options_.unanswered(queue)) return *unanswered == 0;
  auto counts = broker_.queues(std::vector{queue});
  return counts.empty() || counts.front().consumers == 0;
}

// Whether it has seen everything.
bool ExternalWatch::walk(const std::string& queue,
                         const std::function<void(const WalkedMessage&)>& see) {
  auto counts = broker_.queues(std::vector{queue});
  if (counts.empty() || counts.front().ready == 0) return true;
  if (counts.front().ready > kWalkMax) return false;
  auto walk = broker_.walk(queue);
  for (size_t seen = 0; seen < kWalkMax;) {
    auto messages = walk->next(kWalkStep);
    if (messages.empty()) return true;
    for (const WalkedMessage& message : messages) see(message);
    seen += messages.size();
  }
  return false;
}

void ExternalWatch::judge(const Task& task, const Sight& sight) {
  const Lease lease{task.key, task.live.attempt};
  const std::string id = message_id_of(store_.id_of(task));
  auto look_again = [&](Duration after) {
    store_.fleet().extend(std::span(&lease, 1), clock_.now() + after);
  };
  if (sight.present.contains(id)) return look_again(kThere);
  if (auto dead = sight.dead.find(id); dead != sight.dead.end())
    return give_up(task, fmt::format("its message is dead, on queue '{}{}': {}", task.queue,
                                     kDeadSuffix, dead->second));
  if (!sight.complete) return look_again(kUnseen);
  gone_next_.insert(lease);
  if (gone_.contains(lease))
    give_up(task,
            fmt::format("its message is gone from '{0}' and '{0}{1}'", task.queue, kDelayedSuffix));
}

void ExternalWatch::give_up(const Task& task, const std::string& words) {
  const std::string why = fmt::format(
      "Python's Dramatiq had it, nobody has reported it for {}, and {}. Whether it ran is not "
      "known; workers report it with OpscoreMiddleware (pip install opscore)",
      to_text(limits::kExternalDoubt), words);
  auto applied = store_.tasks().apply({decide_outcome_unknown(task, why, clock_.now())});
  if (applied.at(0) != Applied::applied) return;  // it was heard of just now
  unknown_.add();
  log_.warn("task {}: {}", store_.id_of(task), why);
}

}  // namespace opscore
