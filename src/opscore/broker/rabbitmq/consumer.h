#pragma once
// The consuming side of a broker. One thread only, which owns the connection; it must call
// receive() at least once in a heartbeat.

#include <set>
#include <span>

#include "opscore/broker/rabbitmq/declare.h"
#include "opscore/broker/rabbitmq/link.h"
#include "opscore/broker/rabbitmq/notices.h"
#include "opscore/broker/rabbitmq/queue_names.h"
#include "opscore/broker/rabbitmq/unanswered.h"

namespace opscore {

struct ConsumerOptions {
  QueueNames names;
  DeclareQueue declare;
  size_t messages_max = SIZE_MAX;  // that receive() collects, and bytes of them: about that many
  size_t bytes_max = SIZE_MAX;
};

class Consumer {
 public:
  Consumer(std::vector<AmqpUrl> urls, ConnectionOptions connection, ConsumerOptions options,
           Notices& notices, Log& log, Random& random);

  // In opscore's names.
  void subscribe(std::set<std::string> queues);
  // Their tags are for ack() and reject(), and so are their queues' names opscore's.
  std::vector<Delivered> receive(Deadline deadline);
  void ack(std::span<const uint64_t> tags);
  // Gives them back, or has RabbitMQ drop them, which may mean its dead-letter queue.
  void reject(std::span<const uint64_t> tags, bool give_back);
  // Sends a message to this consumer alone, through a queue that is made for it and ends with the
  // connection. Why RabbitMQ refuses, else nothing.
  std::optional<std::string> send_to_self(const std::string& queue, std::string_view body);
  // Whether it is that queue.
  bool is_own(const std::string& queue) const { return queue == own_; }
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
  void handle(Connection& server, Incoming incoming);
  void take(Connection& server, Delivered delivered);
  std::vector<uint64_t> of_this_connection(std::span<const uint64_t> tags) const;

  const Duration call_timeout_;
  const ConsumerOptions options_;
  Notices& notices_;
  Log& log_;
  std::set<std::string> wanted_;
  // Of the connection of this generation.
  uint64_t generation_ = 0;
  std::set<std::string> consumed_;
  std::string own_;  // one of them, that nobody else can consume; empty: there is none yet
  std::vector<Delivered> inbox_;
  size_t inbox_bytes_ = 0;
  Unanswered unanswered_;

  Link link_;
};

}  // namespace opscore
