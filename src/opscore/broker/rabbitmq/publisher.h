#pragma once
// The publishing side of a broker: publishes messages and waits for RabbitMQ to confirm them, with
// up to a window of them under way. It has a connection of its own, since RabbitMQ stops reading
// from connections that publish when it is low on memory or disk, and consuming must go on then.
//
// A queue that does not answer while others do is refused, and asked again now and then, when the
// others have had their turn: it holds up nobody.
//
// Safe for concurrent use: publishers take turns.

#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <span>

#include "opscore/broker/foreign_broker.h"
#include "opscore/broker/rabbitmq/declare.h"
#include "opscore/broker/rabbitmq/link.h"
#include "opscore/broker/rabbitmq/notices.h"
#include "opscore/broker/rabbitmq/queue_names.h"

namespace opscore {

struct PublisherOptions {
  QueueNames names;
  DeclareQueue declare;
  size_t window = 1024;      // messages under way that are not confirmed yet
  std::string content_type;  // empty: none
};

class Publisher {
 public:
  Publisher(std::vector<AmqpUrl> urls, ConnectionOptions connection, PublisherOptions options,
            Notices& notices, Log& log, Random& random);
  // Ends the link before what it tends.
  ~Publisher() { link_.stop(); }
  Publisher(const Publisher&) = delete;

  // Returns when all are taken over but those of the queues that RabbitMQ refuses: the answer.
  std::set<std::string> publish(std::span<const ForeignMessage> messages);
  // Those of the queues that exist.
  std::vector<ForeignQueue> queues(std::span<const std::string> names);
  const Link& link() const { return link_; }

 private:
  using Lock = std::unique_lock<std::timed_mutex>;
  using Messages = std::vector<const ForeignMessage*>;
  struct Published {
    std::string queue;
    const ForeignMessage* message;  // null: it was of a call that has ended
    SteadyPoint at;
  };
  struct Silence {
    SteadyPoint ask_again;
    int times = 0;  // that it was asked in vain
  };
  Lock take_turn(Deadline deadline);
  // All with use_ held.
  Connection& connection(Deadline deadline);
  // Until all are taken over but those of refused queues.
  void deliver(Connection& server, Messages messages, Deadline deadline);
  void ask_silent(const Messages& messages);
  // Publishes all but what is refused, waits for the confirms, and answers what has to be published
  // again: its queue was deleted or is not up yet.
  Messages send(Connection& server, const Messages& messages, Deadline deadline);
  void send_some(Connection& server, std::deque<const ForeignMessage*>& waiting, Deadline deadline);
  bool declared(Connection& server, const std::string& queue);
  void wait_until_unconfirmed(Connection& server, size_t at_most, Deadline deadline);
  void handle(const Incoming& incoming);
  void give_up_silent();
  void give_up(const std::string& queue);
  void close_if_given_up();
  void forget_call();
  Duration tend();

  const Duration call_timeout_;
  const PublisherOptions options_;
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
  bool gave_up_ = false;                            // on messages that are under way
  // Of the call under way.
  std::map<std::string, size_t> not_taken_;  // its messages, by queue
  std::set<std::string> refused_;
  Messages again_;
  // Of all connections: queues that did not answer.
  std::map<std::string, Silence> silent_;

  Link link_;
};

}  // namespace opscore
