#include "opscore/broker/rabbitmq/announcer.h"

#include <fmt/format.h>

#include "opscore/broker/rabbitmq/token.h"

namespace opscore {
namespace {

constexpr Duration kTendEvery{1000};

}  // namespace

Announcer::Announcer(std::vector<AmqpUrl> urls, ConnectionOptions options, QueueNames names,
                     size_t window, Notices& notices, Log& log, Random& random)
    : call_timeout_(options.call_timeout),
      names_(std::move(names)),
      window_(window),
      notices_(notices),
      link_(std::move(urls), std::move(options), log, random, [this] { return tend(); }) {}

std::vector<Refusal> Announcer::announce(std::span<const Hint> hints) {
  if (hints.empty()) return {};
  Deadline deadline = Deadline::after(call_timeout_);
  Lock turn = take_turn(deadline);
  Connection& server = connection(deadline);
  std::set<std::string> refused;
  try {
    auto left = publish(server, {hints.begin(), hints.end()}, deadline, refused);
    for (Duration pause(5); !left.empty(); pause *= 2) {
      if (deadline.passed())
        throw Error(Errc::unavailable,
                    fmt::format("RabbitMQ at {} did not take {} of {} hints within {}, one of them "
                                "for queue '{}'",
                                server.where(), left.size(), hints.size(), to_text(call_timeout_),
                                names_.in_rabbitmq(left[0].queue)));
      if (auto incoming = server.next(Deadline::after(pause))) handle(*incoming);
      left = publish(server, std::move(left), deadline, refused);
    }
  } catch (const Error& error) {
    if (server.broken()) link_.lost(error);
    throw;
  }
  std::vector<Refusal> refusals;
  for (const std::string& queue : refused) refusals.push_back({queue, notices_.why_refused(queue)});
  return refusals;
}

Announcer::Lock Announcer::take_turn(Deadline deadline) {
  link_.start();
  Lock lock(use_, std::defer_lock);
  if (!lock.try_lock_until(deadline.when()))
    throw Error(Errc::unavailable,
                fmt::format("announcing to RabbitMQ at {}: an earlier announcement has not ended "
                            "within {}",
                            link_.view().where, to_text(call_timeout_)));
  return lock;
}

Connection& Announcer::connection(Deadline deadline) {
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

std::vector<Hint> Announcer::publish(Connection& server, std::vector<Hint> hints, Deadline deadline,
                                     std::set<std::string>& refused) {
  again_.clear();
  for (Hint& hint : hints) {
    if (!declared(server, hint.queue)) {
      refused.insert(hint.queue);
      continue;
    }
    wait_until_unconfirmed(server, window_ - 1, deadline);
    server.publish(names_.in_rabbitmq(hint.queue), encode_token(hint), deadline);
    unconfirmed_.emplace(++last_sequence_, std::move(hint));
  }
  wait_until_unconfirmed(server, 0, deadline);
  return std::move(again_);
}

bool Announcer::declared(Connection& server, const std::string& queue) {
  std::string name = names_.in_rabbitmq(queue);
  if (declared_.contains(name)) return true;
  if (notices_.just_refused(queue)) return false;
  auto refusal = names_.problem(queue);
  if (!refusal) refusal = server.declare(name);
  if (refusal) {
    notices_.refused(queue, *refusal);
    return false;
  }
  notices_.accepted(queue);
  declared_.insert(name);
  without_queue_.erase(name);
  return true;
}

void Announcer::wait_until_unconfirmed(Connection& server, size_t at_most, Deadline deadline) {
  for (;;) {
    notices_.blocked(server.blocked());
    if (!server.blocked().empty())
      throw Error(Errc::unavailable, fmt::format("RabbitMQ at {} takes no hints for now: {}",
                                                 server.where(), server.blocked()));
    if (unconfirmed_.size() <= at_most) return;
    if (auto incoming = server.next(deadline))
      handle(*incoming);
    else if (server.blocked().empty())
      throw Error(Errc::unavailable,
                  fmt::format("RabbitMQ at {}: {} hints were not confirmed within {}",
                              server.where(), unconfirmed_.size(), to_text(call_timeout_)));
  }
}

void Announcer::handle(const Incoming& incoming) {
  if (auto* confirmed = std::get_if<Confirmed>(&incoming)) {
    auto end = unconfirmed_.upper_bound(confirmed->sequence);
    auto begin =
        confirmed->multiple ? unconfirmed_.begin() : unconfirmed_.lower_bound(confirmed->sequence);
    for (auto it = begin; it != end; ++it)
      if (!confirmed->taken || without_queue_.contains(names_.in_rabbitmq(it->second.queue)))
        again_.push_back(std::move(it->second));
    unconfirmed_.erase(begin, end);
  } else if (auto* returned = std::get_if<Returned>(&incoming)) {
    // RabbitMQ confirms it all the same, afterwards.
    declared_.erase(returned->queue);
    without_queue_.insert(returned->queue);
  }
}

Duration Announcer::tend() {
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

std::vector<BrokerQueue> Announcer::queues(std::span<const std::string> names) {
  if (names.empty()) return {};
  Deadline deadline = Deadline::after(call_timeout_);
  Lock turn = take_turn(deadline);
  Connection& server = connection(deadline);
  std::vector<BrokerQueue> known;
  try {
    for (const std::string& queue : names) {
      if (names_.problem(queue)) continue;
      if (auto counts = server.inspect(names_.in_rabbitmq(queue)))
        known.push_back({queue, counts->ready, std::nullopt, counts->consumers});
    }
  } catch (const Error& error) {
    if (server.broken()) link_.lost(error);
    throw;
  }
  return known;
}

}  // namespace opscore
