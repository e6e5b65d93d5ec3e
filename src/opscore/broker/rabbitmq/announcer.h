#pragma once
// The announcing side of a worker's broker: publishes tokens and waits for RabbitMQ to confirm
// them, with up to a window of them under way. It has a connection of its own, since RabbitMQ stops
// reading from connections that publish when it is low on memory or disk, and consuming must go on
// then.
//
// A queue that does not answer while others do is refused, and asked again now and then, when the
// others have had their turn: it holds up nobody.
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
  using Hints = std::vector<Hint>;
  struct Published {
    Hint hint;
    SteadyPoint at;
  };
  struct Silence {
    SteadyPoint ask_again;
    int times = 0;  // that it was asked in vain
  };
  Lock take_turn(Deadline deadline);
  // All with use_ held.
  Connection& connection(Deadline deadline);
  // Until all are taken over but for those of refused queues.
  void deliver(Connection& server, Hints hints, Deadline deadline);
  void ask_silent(const Hints& hints);
  // Publishes all but what is refused, waits for the confirms, and answers what has to be published
  // again: its queue was deleted or is not up yet.
  Hints publish(Connection& server, Hints hints, Deadline deadline);
  bool declared(Connection& server, const std::string& queue);
  void wait_until_unconfirmed(Connection& server, size_t at_most, Deadline deadline);
  void handle(const Incoming& incoming);
  void give_up_silent();
  void give_up(const std::string& queue);
  void close_if_given_up();
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
  std::map<uint64_t, Published> unconfirmed_;       // by sequence
  std::map<std::string, size_t> under_way_;         // how many of these, by queue
  std::map<std::string, SteadyPoint> answered_at_;  // the last confirm or refusal, by queue
  std::set<std::string> without_queue_;             // in RabbitMQ's names
  Hints again_;
  bool gave_up_ = false;  // on hints that are under way
  // Of the announcement under way.
  std::set<std::string> refused_;
  // Of all connections: queues that did not answer.
  std::map<std::string, Silence> silent_;

  Link link_;
};

}  // namespace opscore
