#include "opscore/broker/memory/memory_broker.h"

#include <algorithm>
#include <deque>
#include <map>
#include <set>

#include "opscore/base/error.h"
#include "opscore/base/mutex.h"

namespace opscore {
namespace {

struct QueueState {
  std::deque<Hint> ready;
  uint64_t unanswered = 0;
  uint64_t consumers = 0;
};

struct Consumer {
  std::set<std::string> queues;
  std::map<uint64_t, Hint> unanswered;  // by tag
  std::deque<Hint> own;                 // that it has sent to itself
  uint64_t last_tag = 0;
};

class Hub final : public MemoryBrokerHub, public std::enable_shared_from_this<Hub> {
 public:
  std::unique_ptr<Broker> connect() override;
  void set_away(bool away) override;
  void purge(const std::string& queue) override;
  void set_refused(const std::string& queue, const std::string& why) override;

  std::shared_ptr<Consumer> add();
  void remove(const std::shared_ptr<Consumer>& consumer);
  std::vector<Refusal> announce(std::span<const Hint> hints);
  void subscribe(Consumer& consumer, const std::vector<std::string>& queues);
  std::vector<Delivery> receive(Consumer& consumer, Deadline deadline);
  void answer(Consumer& consumer, std::span<const uint64_t> tags, bool again);
  std::optional<std::string> send_to_self(Consumer& consumer, const Hint& hint);
  std::vector<BrokerQueue> queues(std::span<const std::string> names);
  BrokerState state() const;

 private:
  void require_available() const OPSCORE_REQUIRES(mutex_);
  void move_consumer(Consumer& consumer, std::set<std::string> queues) OPSCORE_REQUIRES(mutex_);
  std::vector<Delivery> take(Consumer& consumer) OPSCORE_REQUIRES(mutex_);
  void give_back_all(Consumer& consumer) OPSCORE_REQUIRES(mutex_);

  mutable Mutex mutex_;
  ConditionVariable news_;
  std::map<std::string, QueueState> queues_ OPSCORE_GUARDED_BY(mutex_);
  std::set<std::shared_ptr<Consumer>> consumers_ OPSCORE_GUARDED_BY(mutex_);
  bool away_ OPSCORE_GUARDED_BY(mutex_) = false;
  std::map<std::string, std::string> refused_ OPSCORE_GUARDED_BY(mutex_);  // with the reason
};

class MemoryBroker final : public Broker {
 public:
  explicit MemoryBroker(std::shared_ptr<Hub> hub) : hub_(std::move(hub)), consumer_(hub_->add()) {}
  ~MemoryBroker() override { hub_->remove(consumer_); }
  MemoryBroker(const MemoryBroker&) = delete;

  std::vector<Refusal> announce(std::span<const Hint> hints) override {
    return hub_->announce(hints);
  }
  void subscribe(const std::vector<std::string>& queues) override {
    hub_->subscribe(*consumer_, queues);
  }
  std::vector<Delivery> receive(Deadline deadline) override {
    return hub_->receive(*consumer_, deadline);
  }
  void ack(std::span<const uint64_t> tags) override { hub_->answer(*consumer_, tags, false); }
  void give_back(std::span<const uint64_t> tags) override { hub_->answer(*consumer_, tags, true); }
  std::optional<std::string> send_to_self(const Hint& hint) override {
    return hub_->send_to_self(*consumer_, hint);
  }
  std::vector<BrokerQueue> queues(std::span<const std::string> names) override {
    return hub_->queues(names);
  }
  BrokerState state() const override { return hub_->state(); }

 private:
  std::shared_ptr<Hub> hub_;
  std::shared_ptr<Consumer> consumer_;
};

std::unique_ptr<Broker> Hub::connect() {
  return std::make_unique<MemoryBroker>(shared_from_this());
}

void Hub::require_available() const {
  if (away_) throw Error(Errc::unavailable, "the broker is away");
}

void Hub::set_away(bool away) {
  MutexLock lock(mutex_);
  away_ = away;
  if (away)
    for (const auto& consumer : consumers_) {
      give_back_all(*consumer);
      consumer->own.clear();
    }
  news_.notify_all();
}

std::shared_ptr<Consumer> Hub::add() {
  MutexLock lock(mutex_);
  auto consumer = std::make_shared<Consumer>();
  consumers_.insert(consumer);
  return consumer;
}

void Hub::remove(const std::shared_ptr<Consumer>& consumer) {
  MutexLock lock(mutex_);
  give_back_all(*consumer);
  move_consumer(*consumer, {});
  consumers_.erase(consumer);
}

void Hub::purge(const std::string& queue) {
  MutexLock lock(mutex_);
  queues_[queue].ready.clear();
}

void Hub::set_refused(const std::string& queue, const std::string& why) {
  MutexLock lock(mutex_);
  if (why.empty())
    refused_.erase(queue);
  else
    refused_[queue] = why;
}

std::vector<Refusal> Hub::announce(std::span<const Hint> hints) {
  MutexLock lock(mutex_);
  require_available();
  std::map<std::string, std::string> refused;
  for (const Hint& hint : hints) {
    auto found = refused_.find(hint.queue);
    if (found == refused_.end())
      queues_[hint.queue].ready.push_back(hint);
    else
      refused.insert(*found);
  }
  news_.notify_all();
  std::vector<Refusal> refusals;
  for (const auto& [queue, why] : refused) refusals.push_back({queue, why});
  return refusals;
}

void Hub::subscribe(Consumer& consumer, const std::vector<std::string>& queues) {
  MutexLock lock(mutex_);
  require_available();
  move_consumer(consumer, {queues.begin(), queues.end()});
}

void Hub::move_consumer(Consumer& consumer, std::set<std::string> queues) {
  for (const std::string& queue : consumer.queues) --queues_[queue].consumers;
  for (const std::string& queue : queues) ++queues_[queue].consumers;
  consumer.queues = std::move(queues);
}

std::vector<Delivery> Hub::receive(Consumer& consumer, Deadline deadline) {
  MutexLock lock(mutex_);
  for (;;) {
    require_available();
    auto deliveries = take(consumer);
    if (!deliveries.empty() || deadline.passed()) return deliveries;
    news_.wait_for(lock, deadline.left());
  }
}

std::vector<Delivery> Hub::take(Consumer& consumer) {
  std::vector<Delivery> deliveries;
  for (; !consumer.own.empty(); consumer.own.pop_front())
    deliveries.push_back({++consumer.last_tag, consumer.own.front()});
  for (const std::string& name : consumer.queues) {
    QueueState& queue = queues_[name];
    while (!queue.ready.empty() && consumer.unanswered.size() < kWindow) {
      Delivery delivery{++consumer.last_tag, std::move(queue.ready.front())};
      queue.ready.pop_front();
      ++queue.unanswered;
      consumer.unanswered[delivery.tag] = delivery.hint;
      deliveries.push_back(std::move(delivery));
    }
  }
  return deliveries;
}

void Hub::answer(Consumer& consumer, std::span<const uint64_t> tags, bool again) {
  MutexLock lock(mutex_);
  require_available();
  std::set<uint64_t, std::greater<>> newest_first(tags.begin(), tags.end());
  for (uint64_t tag : newest_first) {
    // A tag from before the broker was away: it has been delivered again.
    auto found = consumer.unanswered.find(tag);
    if (found == consumer.unanswered.end()) continue;
    QueueState& queue = queues_[found->second.queue];
    --queue.unanswered;
    if (again) queue.ready.push_front(std::move(found->second));
    consumer.unanswered.erase(found);
  }
  news_.notify_all();
}

std::optional<std::string> Hub::send_to_self(Consumer& consumer, const Hint& hint) {
  MutexLock lock(mutex_);
  require_available();
  if (auto refused = refused_.find(hint.queue); refused != refused_.end()) return refused->second;
  consumer.own.push_back(hint);
  news_.notify_all();
  return std::nullopt;
}

void Hub::give_back_all(Consumer& consumer) {
  for (auto it = consumer.unanswered.rbegin(); it != consumer.unanswered.rend(); ++it) {
    QueueState& queue = queues_[it->second.queue];
    --queue.unanswered;
    queue.ready.push_front(std::move(it->second));
  }
  consumer.unanswered.clear();
  news_.notify_all();
}

std::vector<BrokerQueue> Hub::queues(std::span<const std::string> names) {
  MutexLock lock(mutex_);
  require_available();
  std::vector<BrokerQueue> known;
  for (const std::string& name : names) {
    auto found = queues_.find(name);
    if (found == queues_.end()) continue;
    const QueueState& queue = found->second;
    known.push_back({name, queue.ready.size(), queue.unanswered, queue.consumers});
  }
  return known;
}

BrokerState Hub::state() const {
  MutexLock lock(mutex_);
  BrokerState state{.connected = !away_, .where = "memory"};
  if (away_) state.problem = "the broker is away";
  for (const auto& [queue, why] : refused_) state.refused.push_back({queue, why});
  return state;
}

}  // namespace

std::shared_ptr<MemoryBrokerHub> open_memory_broker() {
  return std::make_shared<Hub>();
}

}  // namespace opscore
