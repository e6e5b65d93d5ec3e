#pragma once
// The announcing side of a worker's broker: publishes tokens and waits for RabbitMQ to confirm
// them, with up to a window of them under way. It has a connection of its own, since RabbitMQ stops
// reading from connections that publish when it is low on memory or disk, and consuming must go on
// then.
//
// Safe for concurrent use: announcements take turns.

#include <map>
#include <mutex>
#include <set>

#include "opscore/broker/rabbitmq/link.h"
#include "opscore/broker/rabbitmq/notices.h"
#include "opscore/broker/rabbitmq/queue_names.h"

namespace opscore {

class Announcer {
 public:
  Announcer(std::vector<AmqpUrl> urls, ConnectionOptions options, QueueNames names, size_t window,
            Notices& notices, Log& log, Random& random);
  // Ends the link before what it tends.
  ~Announcer() { link_.stop(); }
  Announcer(const Announcer&) = delete;

  std::vector<Refusal> announce(std::span<const Hint> hints);
  std::vector<BrokerQueue> queues(std::span<const std::string> names);
  const Link& link() const { return link_; }

 private:
  using Lock = std::unique_lock<std::timed_mutex>;
  Lock take_turn(Deadline deadline);
  // All with use_ held.
  Connection& connection(Deadline deadline);
  // Publishes all but what is refused, waits for the confirms, and answers what has to be published
  // again: its queue was deleted or is not up yet.
  std::vector<Hint> publish(Connection& server, std::vector<Hint> hints, Deadline deadline,
                            std::set<std::string>& refused);
  bool declared(Connection& server, const std::string& queue);
  void wait_until_unconfirmed(Connection& server, size_t at_most, Deadline deadline);
  void handle(const Incoming& incoming);
  Duration tend();

  const Duration call_timeout_;
  const QueueNames names_;
  const size_t window_;
  Notices& notices_;

  std::timed_mutex use_;
  // Guarded by use_; of the connection of this generation.
  uint64_t generation_ = 0;
  std::set<std::string> declared_;
  uint64_t last_sequence_ = 0;
  std::map<uint64_t, Hint> unconfirmed_;  // by sequence
  std::set<std::string> without_queue_;   // in RabbitMQ's names
  std::vector<Hint> again_;

  Link link_;
};

}  // namespace opscore
