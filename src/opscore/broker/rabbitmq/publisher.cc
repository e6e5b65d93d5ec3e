#include "opscore/broker/rabbitmq/publisher.h"

#include <fmt/format.h>

namespace opscore {
namespace {

constexpr Duration kTendEvery{1000};

}  // namespace

Publisher::Publisher(std::vector<AmqpUrl> urls, ConnectionOptions connection,
                     PublisherOptions options, Notices& notices, Log& log, Random& random)
    : call_timeout_(connection.call_timeout),
      options_(std::move(options)),
      notices_(notices),
      link_(std::move(urls), std::move(connection), log, random, [this] { return tend(); }) {}

std::set<std::string> Publisher::publish(std::span<const ForeignMessage> messages) {
  std::set<std::string> refused;
  if (messages.empty()) return refused;
  Deadline deadline = Deadline::after(call_timeout_);
  Lock turn = take_turn(deadline);
  Connection& server = connection(deadline);
  Messages left;
  for (const ForeignMessage& message : messages) left.push_back(&message);
  try {
    left = publish(server, left, deadline, refused);
    for (Duration pause(5); !left.empty(); pause *= 2) {
      if (deadline.passed())
        throw Error(
            Errc::unavailable,
            fmt::format("RabbitMQ at {} did not take {} of {} messages within {}, one of "
                        "them for queue '{}'",
                        server.where(), left.size(), messages.size(), to_text(call_timeout_),
                        options_.names.in_rabbitmq(left[0]->queue)));
      if (auto incoming = server.next(Deadline::after(pause))) handle(*incoming);
      left = publish(server, left, deadline, refused);
    }
  } catch (const Error& error) {
    // The caller's messages end with this call.
    unconfirmed_.clear();
    again_.clear();
    if (server.broken()) link_.lost(error);
    throw;
  }
  return refused;
}

Publisher::Lock Publisher::take_turn(Deadline deadline) {
  link_.start();
  Lock lock(use_, std::defer_lock);
  if (!lock.try_lock_until(deadline.when()))
    throw Error(Errc::unavailable,
                fmt::format("publishing to RabbitMQ at {}: an earlier call has not ended within {}",
                            link_.view().where, to_text(call_timeout_)));
  return lock;
}

Connection& Publisher::connection(Deadline deadline) {
  Connection& server = link_.get(deadline);
  if (generation_ != link_.generation()) {
    generation_ = link_.generation();
    declared_.clear();
    unconfirmed_.clear();
    without_queue_.clear();
    last_sequence_ = 0;
    notices_.blocked("");
    try {
      server.confirm_publishes();
    } catch (const Error& error) {
      link_.lost(error);
      throw;
    }
  }
  return server;
}

Publisher::Messages Publisher::publish(Connection& server, const Messages& messages,
                                       Deadline deadline, std::set<std::string>& refused) {
  again_.clear();
  for (const ForeignMessage* message : messages) {
    if (!declared(server, message->queue)) {
      refused.insert(message->queue);
      continue;
    }
    wait_until_unconfirmed(server, options_.window - 1, deadline);
    server.publish(options_.names.in_rabbitmq(message->queue), message->body,
                   {options_.content_type, message->priority, message->headers}, deadline);
    unconfirmed_.emplace(++last_sequence_, message);
  }
  wait_until_unconfirmed(server, 0, deadline);
  return std::move(again_);
}

bool Publisher::declared(Connection& server, const std::string& queue) {
  std::string name = options_.names.in_rabbitmq(queue);
  if (declared_.contains(name)) return true;
  if (notices_.just_refused(queue)) return false;
  auto refusal = options_.names.problem(queue);
  if (!refusal) refusal = options_.declare(server, name);
  if (refusal) {
    notices_.refused(queue, *refusal);
    return false;
  }
  notices_.accepted(queue);
  declared_.insert(name);
  without_queue_.erase(name);
  return true;
}

void Publisher::wait_until_unconfirmed(Connection& server, size_t at_most, Deadline deadline) {
  for (;;) {
    notices_.blocked(server.blocked());
    if (!server.blocked().empty())
      throw Error(Errc::unavailable, fmt::format("RabbitMQ at {} takes no messages for now: {}",
                                                 server.where(), server.blocked()));
    if (unconfirmed_.size() <= at_most) return;
    if (auto incoming = server.next(deadline))
      handle(*incoming);
    else if (server.blocked().empty())
      throw Error(Errc::unavailable,
                  fmt::format("RabbitMQ at {}: {} messages were not confirmed within {}",
                              server.where(), unconfirmed_.size(), to_text(call_timeout_)));
  }
}

void Publisher::handle(const Incoming& incoming) {
  if (auto* confirmed = std::get_if<Confirmed>(&incoming)) {
    auto end = unconfirmed_.upper_bound(confirmed->sequence);
    auto begin =
        confirmed->multiple ? unconfirmed_.begin() : unconfirmed_.lower_bound(confirmed->sequence);
    for (auto it = begin; it != end; ++it)
      if (!confirmed->taken ||
          without_queue_.contains(options_.names.in_rabbitmq(it->second->queue)))
        again_.push_back(it->second);
    unconfirmed_.erase(begin, end);
  } else if (auto* returned = std::get_if<Returned>(&incoming)) {
    // RabbitMQ confirms it all the same, afterwards.
    declared_.erase(returned->queue);
    without_queue_.insert(returned->queue);
  }
}

Duration Publisher::tend() {
  Lock turn(use_, std::try_to_lock);
  if (!turn) return kTendEvery;
  try {
    Connection& server = connection(Deadline::after(Duration(0)));
    while (auto incoming = server.next(Deadline::after(Duration(0)))) handle(*incoming);
    notices_.blocked(server.blocked());
  } catch (const Error& error) {
    link_.lost(error);
  }
  return kTendEvery;
}

std::vector<ForeignQueue> Publisher::queues(std::span<const std::string> names) {
  if (names.empty()) return {};
  Deadline deadline = Deadline::after(call_timeout_);
  Lock turn = take_turn(deadline);
  Connection& server = connection(deadline);
  std::vector<ForeignQueue> known;
  try {
    for (const std::string& queue : names) {
      if (options_.names.problem(queue)) continue;
      if (auto counts = server.inspect(options_.names.in_rabbitmq(queue)))
        known.push_back({queue, counts->ready, counts->consumers});
    }
  } catch (const Error& error) {
    if (server.broken()) link_.lost(error);
    throw;
  }
  return known;
}

}  // namespace opscore
