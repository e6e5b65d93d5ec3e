#include "opscore/broker/memory/memory_foreign_broker.h"

#include <algorithm>
#include <deque>
#include <map>
#include <set>

#include "opscore/base/error.h"
#include "opscore/base/mutex.h"
#include "opscore/broker/dramatiq/message.h"

namespace opscore {
namespace {

struct Waiting {
  ForeignMessage message;
  bool redelivered = false;
  std::vector<MessageDeath> deaths;
};

struct Consumer {
  std::set<std::string> queues;
  std::map<uint64_t, Waiting> unanswered;  // by tag
};

class Hub final : public MemoryForeignHub, public std::enable_shared_from_this<Hub> {
 public:
  explicit Hub(size_t body_bytes_max) : body_bytes_max_(body_bytes_max) {}

  std::unique_ptr<ForeignBroker> connect() override;
  void set_away(bool away) override;
  void set_refused(const std::string& queue, const std::string& why) override;
  std::vector<ForeignMessage> contents(const std::string& queue) const override;

  std::shared_ptr<Consumer> add();
  void remove(const std::shared_ptr<Consumer>& consumer);
  std::vector<bool> publish(std::span<const ForeignMessage> messages);
  void subscribe(Consumer& consumer, const std::vector<std::string>& queues);
  std::vector<ForeignDelivery> receive(Consumer& consumer, Deadline deadline);
  enum class Answer { ack, give_back, reject };
  void answer(Consumer& consumer, std::span<const uint64_t> tags, Answer answer);
  std::vector<ForeignQueue> queues(std::span<const std::string> names);
  void require_queue(const std::string& queue);
  std::vector<WalkedMessage> walk_on(Consumer& walker, const std::string& queue, size_t most);
  BrokerState state() const;

 private:
  void require_available() const OPSCORE_REQUIRES(mutex_);
  void declare(std::string_view queue) OPSCORE_REQUIRES(mutex_);
  std::vector<ForeignDelivery> take(Consumer& consumer) OPSCORE_REQUIRES(mutex_);
  void give_back_all(Consumer& consumer) OPSCORE_REQUIRES(mutex_);

  const size_t body_bytes_max_;
  mutable Mutex mutex_;
  ConditionVariable news_;
  std::map<std::string, std::deque<Waiting>> queues_ OPSCORE_GUARDED_BY(mutex_);
  std::set<std::shared_ptr<Consumer>> consumers_ OPSCORE_GUARDED_BY(mutex_);
  uint64_t last_tag_ OPSCORE_GUARDED_BY(mutex_) = 0;
  bool away_ OPSCORE_GUARDED_BY(mutex_) = false;
  std::map<std::string, std::string> refused_ OPSCORE_GUARDED_BY(mutex_);  // with the reason
};

// Holds what it has seen, as a consumer of no queue.
class MemoryWalk final : public QueueWalk {
 public:
  MemoryWalk(std::shared_ptr<Hub> hub, std::string queue)
      : hub_(std::move(hub)), walker_(hub_->add()), queue_(std::move(queue)) {}
  ~MemoryWalk() override { hub_->remove(walker_); }
  MemoryWalk(const MemoryWalk&) = delete;

  std::vector<WalkedMessage> next(size_t most) override {
    return hub_->walk_on(*walker_, queue_, most);
  }
  void take(std::span<const uint64_t> tags) override {
    hub_->answer(*walker_, tags, Hub::Answer::ack);
  }

 private:
  const std::shared_ptr<Hub> hub_;
  const std::shared_ptr<Consumer> walker_;
  const std::string queue_;
};

class MemoryForeignBroker final : public ForeignBroker {
 public:
  explicit MemoryForeignBroker(std::shared_ptr<Hub> hub)
      : hub_(std::move(hub)), consumer_(hub_->add()) {}
  ~MemoryForeignBroker() override { hub_->remove(consumer_); }
  MemoryForeignBroker(const MemoryForeignBroker&) = delete;

  std::vector<bool> publish(std::span<const ForeignMessage> messages) override {
    return hub_->publish(messages);
  }
  void subscribe(const std::vector<std::string>& queues) override {
    hub_->subscribe(*consumer_, queues);
  }
  std::vector<ForeignDelivery> receive(Deadline deadline) override {
    return hub_->receive(*consumer_, deadline);
  }
  void ack(std::span<const uint64_t> tags) override {
    hub_->answer(*consumer_, tags, Hub::Answer::ack);
  }
  void give_back(std::span<const uint64_t> tags) override {
    hub_->answer(*consumer_, tags, Hub::Answer::give_back);
  }
  void reject(std::span<const uint64_t> tags) override {
    hub_->answer(*consumer_, tags, Hub::Answer::reject);
  }
  std::vector<ForeignQueue> queues(std::span<const std::string> names) override {
    return hub_->queues(names);
  }
  std::unique_ptr<QueueWalk> walk(const std::string& queue) override {
    hub_->require_queue(queue);
    return std::make_unique<MemoryWalk>(hub_, queue);
  }
  BrokerState state() const override { return hub_->state(); }

 private:
  const std::shared_ptr<Hub> hub_;
  const std::shared_ptr<Consumer> consumer_;
};

std::unique_ptr<ForeignBroker> Hub::connect() {
  return std::make_unique<MemoryForeignBroker>(shared_from_this());
}

std::shared_ptr<Consumer> Hub::add() {
  auto consumer = std::make_shared<Consumer>();
  MutexLock lock(mutex_);
  consumers_.insert(consumer);
  return consumer;
}

void Hub::remove(const std::shared_ptr<Consumer>& consumer) {
  MutexLock lock(mutex_);
  give_back_all(*consumer);
  consumers_.erase(consumer);
}

void Hub::set_away(bool away) {
  MutexLock lock(mutex_);
  away_ = away;
  if (away)
    for (const auto& consumer : consumers_) give_back_all(*consumer);
  news_.notify_all();
}

void Hub::set_refused(const std::string& queue, const std::string& why) {
  MutexLock lock(mutex_);
  if (why.empty())
    refused_.erase(queue);
  else
    refused_[queue] = why;
}

std::vector<ForeignMessage> Hub::contents(const std::string& queue) const {
  MutexLock lock(mutex_);
  std::vector<ForeignMessage> messages;
  if (auto found = queues_.find(queue); found != queues_.end())
    for (const Waiting& waiting : found->second) messages.push_back(waiting.message);
  return messages;
}

void Hub::require_available() const {
  if (away_) throw Error(Errc::unavailable, "the broker is away");
}

void Hub::declare(std::string_view queue) {
  const std::string name(canonical_queue(queue));
  for (std::string_view suffix : {std::string_view(), kDelayedSuffix, kDeadSuffix})
    queues_[name + std::string(suffix)];
}

std::vector<bool> Hub::publish(std::span<const ForeignMessage> messages) {
  MutexLock lock(mutex_);
  require_available();
  std::vector<bool> taken;
  for (const ForeignMessage& message : messages) {
    taken.push_back(!refused_.contains(message.queue));
    if (!taken.back()) continue;
    declare(message.queue);
    queues_[message.queue].push_back({message});
  }
  news_.notify_all();
  return taken;
}

void Hub::subscribe(Consumer& consumer, const std::vector<std::string>& queues) {
  MutexLock lock(mutex_);
  require_available();
  consumer.queues.clear();
  for (const std::string& queue : queues) {
    declare(queue);
    consumer.queues.insert(queue);
    consumer.queues.insert(queue + std::string(kDelayedSuffix));
  }
}

std::vector<ForeignDelivery> Hub::receive(Consumer& consumer, Deadline deadline) {
  MutexLock lock(mutex_);
  for (;;) {
    require_available();
    auto deliveries = take(consumer);
    if (!deliveries.empty() || deadline.passed()) return deliveries;
    news_.wait_for(lock, deadline.left());
  }
}

std::vector<ForeignDelivery> Hub::take(Consumer& consumer) {
  std::vector<ForeignDelivery> deliveries;
  for (const std::string& name : consumer.queues) {
    std::deque<Waiting>& queue = queues_[name];
    while (!queue.empty() && consumer.unanswered.size() < kWindow) {
      Waiting waiting = std::move(queue.front());
      queue.pop_front();
      const ForeignMessage& message = waiting.message;
      deliveries.push_back({++last_tag_, name, message.body.substr(0, body_bytes_max_),
                            message.body.size(), message.priority, waiting.redelivered});
      consumer.unanswered.emplace(last_tag_, std::move(waiting));
    }
  }
  return deliveries;
}

void Hub::answer(Consumer& consumer, std::span<const uint64_t> tags, Answer answer) {
  MutexLock lock(mutex_);
  require_available();
  for (uint64_t tag : tags) {
    // A tag from before the broker was away: it has been delivered again.
    auto found = consumer.unanswered.find(tag);
    if (found == consumer.unanswered.end()) continue;
    if (answer == Answer::reject) {
      ForeignMessage message = std::move(found->second.message);
      MessageDeath death{message.queue, "rejected"};
      message.queue = std::string(canonical_queue(message.queue)) + std::string(kDeadSuffix);
      queues_[message.queue].push_back({std::move(message), false, {std::move(death)}});
    }
    if (answer == Answer::give_back) {
      found->second.redelivered = true;
      std::deque<Waiting>& queue = queues_[found->second.message.queue];
      queue.push_front(std::move(found->second));
    }
    consumer.unanswered.erase(found);
  }
  news_.notify_all();
}

void Hub::give_back_all(Consumer& consumer) {
  for (auto it = consumer.unanswered.rbegin(); it != consumer.unanswered.rend(); ++it) {
    it->second.redelivered = true;
    queues_[it->second.message.queue].push_front(std::move(it->second));
  }
  consumer.unanswered.clear();
  news_.notify_all();
}

std::vector<ForeignQueue> Hub::queues(std::span<const std::string> names) {
  MutexLock lock(mutex_);
  require_available();
  std::vector<ForeignQueue> known;
  for (const std::string& name : names) {
    auto found = queues_.find(name);
    if (found == queues_.end()) continue;
    auto consumers = std::count_if(consumers_.begin(), consumers_.end(),
                                   [&](const auto& c) { return c->queues.contains(name); });
    known.push_back({name, found->second.size(), static_cast<uint64_t>(consumers)});
  }
  return known;
}

void Hub::require_queue(const std::string& queue) {
  MutexLock lock(mutex_);
  require_available();
  if (!queues_.contains(queue)) throw Error(Errc::not_found, "there is no queue '" + queue + "'");
}

std::vector<WalkedMessage> Hub::walk_on(Consumer& walker, const std::string& name, size_t most) {
  MutexLock lock(mutex_);
  require_available();
  std::vector<WalkedMessage> seen;
  std::deque<Waiting>& queue = queues_[name];
  while (!queue.empty() && seen.size() < most) {
    Waiting waiting = std::move(queue.front());
    queue.pop_front();
    const ForeignMessage& message = waiting.message;
    seen.push_back({++last_tag_, message.body.substr(0, body_bytes_max_), message.body.size(),
                    message.priority, waiting.redelivered, message.headers, waiting.deaths});
    walker.unanswered.emplace(last_tag_, std::move(waiting));
  }
  return seen;
}

BrokerState Hub::state() const {
  MutexLock lock(mutex_);
  BrokerState state{.connected = !away_, .where = "memory"};
  if (away_) state.problem = "the broker is away";
  for (const auto& [queue, why] : refused_) state.refused.push_back({queue, why});
  return state;
}

}  // namespace

std::shared_ptr<MemoryForeignHub> open_memory_foreign(size_t body_bytes_max) {
  return std::make_shared<Hub>(body_bytes_max);
}

}  // namespace opscore
