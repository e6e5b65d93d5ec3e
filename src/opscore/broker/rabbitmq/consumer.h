#pragma once
// The consuming side of a worker's broker: what the intake takes hints from. One thread only, which
// owns the connection; it must call receive() at least once in a heartbeat.

#include <deque>
#include <set>

#include "opscore/broker/rabbitmq/link.h"
#include "opscore/broker/rabbitmq/notices.h"
#include "opscore/broker/rabbitmq/queue_names.h"
#include "opscore/broker/rabbitmq/unanswered.h"

namespace opscore {

class Consumer {
 public:
  Consumer(std::vector<AmqpUrl> urls, ConnectionOptions options, QueueNames names, Notices& notices,
           Log& log, Random& random);

  void subscribe(const std::vector<std::string>& queues);
  std::vector<Delivery> receive(Deadline deadline);
  void ack(std::span<const uint64_t> tags);
  void give_back(std::span<const uint64_t> tags);
  const Link& link() const { return link_; }

 private:
  Connection& connection(Deadline deadline);
  // Runs `call` on the connection, and closes that when it fails.
  template <class Call>
  void on_connection(Deadline deadline, Call call);
  // Brings what is consumed closer to what is wanted, until the deadline, at least by one queue.
  void follow_subscription(Connection& server, Deadline deadline);
  void begin(Connection& server, const std::string& queue);
  void end(Connection& server, const std::string& queue);
  void handle(Connection& server, const Incoming& incoming);
  void take(Connection& server, const Delivered& delivered);
  std::vector<uint64_t> of_this_connection(std::span<const uint64_t> tags) const;

  const Duration call_timeout_;
  const QueueNames names_;
  Notices& notices_;
  Log& log_;
  std::set<std::string> wanted_;
  // Of the connection of this generation.
  uint64_t generation_ = 0;
  std::set<std::string> consumed_;
  std::deque<Delivery> inbox_;
  Unanswered unanswered_;

  Link link_;
};

}  // namespace opscore
