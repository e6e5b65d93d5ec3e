#include "opscore/broker/rabbitmq/consumer.h"

#include <utility>

namespace opscore {
namespace {

// A tag outside is the generation of the connection and RabbitMQ's tag, so that one from an earlier
// connection is known as such.
constexpr int kTagBits = 40;
constexpr uint64_t kTagMask = (uint64_t{1} << kTagBits) - 1;

}  // namespace

Consumer::Consumer(std::vector<AmqpUrl> urls, ConnectionOptions connection, ConsumerOptions options,
                   Notices& notices, Log& log, Random& random)
    : call_timeout_(connection.call_timeout),
      options_(std::move(options)),
      notices_(notices),
      log_(log),
      link_(std::move(urls), std::move(connection), log, random, nullptr) {}

Connection& Consumer::connection(Deadline deadline) {
  link_.start();
  Connection& server = link_.get(deadline);
  if (generation_ != link_.generation()) {
    generation_ = link_.generation();
    consumed_.clear();
    own_.clear();
    inbox_.clear();
    inbox_bytes_ = 0;
    unanswered_.clear();
  }
  return server;
}

template <class Call>
void Consumer::on_connection(Deadline deadline, Call call) {
  Connection& server = connection(deadline);
  try {
    call(server);
  } catch (const Error& error) {
    link_.lost(error);
    throw;
  }
}

void Consumer::subscribe(std::set<std::string> queues) {
  wanted_ = std::move(queues);
  Deadline deadline = Deadline::after(call_timeout_);
  for (;;) {
    Connection& server = connection(deadline);  // throws when RabbitMQ is away
    try {
      return follow_subscription(server, deadline);
    } catch (const Error& error) {
      // Once more: RabbitMQ 3.10 cuts a connection that consumes a queue which another has just
      // begun to declare.
      link_.lost(error);
      if (deadline.passed()) throw;
    }
  }
}

void Consumer::follow_subscription(Connection& server, Deadline deadline) {
  std::set<std::string> consumed = consumed_;
  for (const std::string& queue : consumed) {
    if (wanted_.contains(queue) || is_own(queue)) continue;
    end(server, queue);
    if (deadline.passed()) return;
  }
  for (const std::string& queue : wanted_) {
    if (consumed_.contains(queue) || notices_.just_refused(queue)) continue;
    begin(server, queue);
    if (deadline.passed()) return;
  }
}

void Consumer::begin(Connection& server, const std::string& queue) {
  std::string name = options_.names.in_rabbitmq(queue);
  auto refusal = options_.names.problem(queue);
  if (!refusal) refusal = options_.declare(server, name, call_timeout_);
  if (refusal) return notices_.refused(queue, *refusal);
  Deadline limit = Deadline::after(call_timeout_);
  try {
    refusal = server.consume(name);
  } catch (const Error&) {
    if (limit.passed()) notices_.silent(queue, name);
    throw;
  }
  if (refusal) {
    notices_.refused(queue, *refusal);
    throw Error(Errc::unavailable, *refusal);
  }
  notices_.accepted(queue);
  consumed_.insert(queue);
}

void Consumer::end(Connection& server, const std::string& queue) {
  server.cancel(options_.names.in_rabbitmq(queue));
  consumed_.erase(queue);
  // What was under way, and what had arrived and nobody has seen, goes back at once.
  while (auto incoming = server.next(Deadline::after(Duration(0))))
    handle(server, *std::move(incoming));
  for (const Delivered& delivered : inbox_)
    if (delivered.queue == queue && unanswered_.give_back(delivered.tag & kTagMask))
      server.reject(delivered.tag & kTagMask, true);
  std::erase_if(inbox_, [&](const Delivered& delivered) { return delivered.queue == queue; });
}

std::vector<Delivered> Consumer::receive(Deadline deadline) {
  on_connection(deadline, [&](Connection& server) {
    while (inbox_.size() < options_.messages_max && inbox_bytes_ < options_.bytes_max) {
      follow_subscription(server, deadline);
      // Once something has come, only what is already here.
      auto incoming = server.next(inbox_.empty() ? deadline : Deadline::after(Duration(0)));
      if (!incoming) return;
      handle(server, *std::move(incoming));
    }
  });
  inbox_bytes_ = 0;
  return std::exchange(inbox_, {});
}

void Consumer::handle(Connection& server, Incoming incoming) {
  if (auto* delivered = std::get_if<Delivered>(&incoming)) {
    take(server, std::move(*delivered));
  } else if (auto* cancelled = std::get_if<ConsumerCancelled>(&incoming)) {
    const std::string queue = options_.names.in_opscore(cancelled->queue);
    consumed_.erase(queue);
    if (is_own(queue)) return own_.clear();  // the next one that is sent makes another
    log_.warn("RabbitMQ at {}: queue '{}' was deleted; making it again", server.where(),
              cancelled->queue);
  }
}

void Consumer::take(Connection& server, Delivered delivered) {
  delivered.queue = options_.names.in_opscore(delivered.queue);
  if (!consumed_.contains(delivered.queue)) return server.reject(delivered.tag, true);
  unanswered_.delivered(delivered.tag);
  delivered.tag |= generation_ << kTagBits;
  inbox_bytes_ += delivered.body.size();
  inbox_.push_back(std::move(delivered));
}

std::optional<std::string> Consumer::send_to_self(const std::string& queue, std::string_view body) {
  std::optional<std::string> refusal;
  on_connection(Deadline::after(call_timeout_), [&](Connection& server) {
    if (own_.empty()) {
      const std::string name = options_.names.in_rabbitmq(queue);
      refusal = server.declare_own(name, call_timeout_);
      if (refusal) return;
      refusal = server.consume(name);
      if (refusal) throw Error(Errc::unavailable, *refusal);  // the connection is of no use now
      consumed_.insert(queue);
      own_ = queue;
    }
    server.publish(options_.names.in_rabbitmq(own_), body, {}, Deadline::after(call_timeout_));
  });
  return refusal;
}

std::vector<uint64_t> Consumer::of_this_connection(std::span<const uint64_t> tags) const {
  std::vector<uint64_t> own;
  for (uint64_t tag : tags)
    if (tag >> kTagBits == generation_) own.push_back(tag & kTagMask);
  return own;
}

void Consumer::ack(std::span<const uint64_t> tags) {
  if (tags.empty()) return;
  on_connection(Deadline::after(call_timeout_), [&](Connection& server) {
    for (const AckFrame& frame : unanswered_.ack(of_this_connection(tags)))
      server.ack(frame.tag, frame.multiple);
  });
}

void Consumer::reject(std::span<const uint64_t> tags, bool give_back) {
  if (tags.empty()) return;
  on_connection(Deadline::after(call_timeout_), [&](Connection& server) {
    for (uint64_t tag : of_this_connection(tags))
      if (unanswered_.give_back(tag)) server.reject(tag, give_back);
  });
}

}  // namespace opscore
