#include "opscore/broker/rabbitmq/announcer.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "opscore/broker/rabbitmq/token.h"

namespace opscore {
namespace {

constexpr Duration kTendEvery{1000};
// RabbitMQ stops reading from a connection with more than 32 unanswered messages for one quorum
// queue.
constexpr size_t kUnderWayOfAQueue = 30;
// How long a queue may take that has been silent before, and how often it is given that time.
constexpr Duration kSilentPatience{500};
constexpr Duration kAskAgainMin{1000};
constexpr Duration kAskAgainMax{60'000};
// Between two looks at which queues are silent.
constexpr Duration kListen{100};

Duration ask_again_after(int times) {
  return std::min(kAskAgainMax, kAskAgainMin * (1 << std::min(times, 10)));
}

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
  refused_.clear();
  Hints usual, silent;
  for (const Hint& hint : hints) (silent_.contains(hint.queue) ? silent : usual).push_back(hint);
  try {
    deliver(server, std::move(usual), deadline);
  } catch (const Error& error) {
    if (server.broken()) link_.lost(error);
    throw;
  }
  close_if_given_up();
  ask_silent(silent);
  std::vector<Refusal> refusals;
  for (const std::string& queue : refused_)
    refusals.push_back({queue, notices_.why_refused(queue)});
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
    under_way_.clear();
    answered_at_.clear();
    without_queue_.clear();
    last_sequence_ = 0;
    gave_up_ = false;
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

void Announcer::deliver(Connection& server, Hints hints, Deadline deadline) {
  const size_t count = hints.size();
  hints = publish(server, std::move(hints), deadline);
  for (Duration pause(5); !hints.empty(); pause *= 2) {
    if (deadline.passed())
      throw Error(
          Errc::unavailable,
          fmt::format("RabbitMQ at {} did not take {} of {} hints in time, one of them for "
                      "queue '{}'",
                      server.where(), hints.size(), count, names_.in_rabbitmq(hints[0].queue)));
    if (auto incoming = server.next(Deadline::after(pause))) handle(*incoming);
    hints = publish(server, std::move(hints), deadline);
  }
}

// Their turn comes last and is short, since it is in vain most of the time.
void Announcer::ask_silent(const Hints& hints) {
  const SteadyPoint now = std::chrono::steady_clock::now();
  Hints asked;
  for (const Hint& hint : hints)
    if (silent_[hint.queue].ask_again <= now)
      asked.push_back(hint);
    else
      refused_.insert(hint.queue);
  if (asked.empty()) return;
  Connection& server = connection(Deadline::after(call_timeout_));
  Deadline deadline = Deadline::after(kSilentPatience);
  try {
    deliver(server, asked, deadline);
  } catch (const Error& error) {
    if (server.broken()) link_.lost(error);
    if (!deadline.passed()) throw;
  }
  for (const Hint& hint : asked)
    if (silent_.contains(hint.queue) && !refused_.contains(hint.queue)) give_up(hint.queue);
  close_if_given_up();
}

Announcer::Hints Announcer::publish(Connection& server, Hints hints, Deadline deadline) {
  again_.clear();
  while (!hints.empty()) {
    Hints later;
    for (Hint& hint : hints) {
      if (!declared(server, hint.queue)) continue;
      if (under_way_[hint.queue] == kUnderWayOfAQueue) {
        later.push_back(std::move(hint));
        continue;
      }
      wait_until_unconfirmed(server, window_ - 1, deadline);
      if (refused_.contains(hint.queue)) continue;  // it was given up meanwhile
      server.publish(names_.in_rabbitmq(hint.queue), encode_token(hint), deadline);
      ++under_way_[hint.queue];
      unconfirmed_.emplace(++last_sequence_,
                           Published{std::move(hint), std::chrono::steady_clock::now()});
    }
    wait_until_unconfirmed(server, 0, deadline);
    hints = std::move(later);
  }
  return std::move(again_);
}

bool Announcer::declared(Connection& server, const std::string& queue) {
  std::string name = names_.in_rabbitmq(queue);
  if (refused_.contains(queue)) return false;
  if (declared_.contains(name)) return true;
  const bool was_silent = silent_.contains(queue);
  if (!was_silent && notices_.just_refused(queue)) {
    refused_.insert(queue);
    return false;
  }
  auto refusal = names_.problem(queue);
  if (!refusal) {
    const Duration patience = was_silent ? kSilentPatience : call_timeout_;
    Deadline deadline = Deadline::after(patience);
    try {
      refusal = server.declare(name, patience);
    } catch (const Error&) {
      // The next time it comes last. Whether it was the queue or the server will be seen then.
      if (deadline.passed()) silent_.try_emplace(queue);
      throw;
    }
  }
  if (refusal) {
    silent_.erase(queue);
    notices_.refused(queue, *refusal);
    refused_.insert(queue);
    return false;
  }
  if (!was_silent) notices_.accepted(queue);
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
    if (auto incoming =
            server.next(Deadline::at(std::min(deadline.when(), Deadline::after(kListen).when())))) {
      handle(*incoming);
      continue;
    }
    if (!server.blocked().empty()) continue;
    give_up_silent();
    if (deadline.passed() && unconfirmed_.size() > at_most)
      throw Error(Errc::unavailable,
                  fmt::format("RabbitMQ at {}: {} hints were not confirmed in "
                              "time, one of them for queue '{}'",
                              server.where(), unconfirmed_.size(),
                              names_.in_rabbitmq(unconfirmed_.begin()->second.hint.queue)));
  }
}

void Announcer::handle(const Incoming& incoming) {
  if (auto* confirmed = std::get_if<Confirmed>(&incoming)) {
    auto end = unconfirmed_.upper_bound(confirmed->sequence);
    auto begin =
        confirmed->multiple ? unconfirmed_.begin() : unconfirmed_.lower_bound(confirmed->sequence);
    for (auto it = begin; it != end; ++it) {
      Hint& hint = it->second.hint;
      --under_way_[hint.queue];
      answered_at_[hint.queue] = std::chrono::steady_clock::now();
      if (confirmed->taken && silent_.erase(hint.queue) > 0) notices_.accepted(hint.queue);
      if (!confirmed->taken || without_queue_.contains(names_.in_rabbitmq(hint.queue)))
        again_.push_back(std::move(hint));
    }
    unconfirmed_.erase(begin, end);
  } else if (auto* returned = std::get_if<Returned>(&incoming)) {
    // RabbitMQ confirms it all the same, afterwards.
    declared_.erase(returned->queue);
    without_queue_.insert(returned->queue);
  }
}

// A queue is silent whose hint has waited for most of the time, and for longer than it took
// RabbitMQ to answer another queue.
void Announcer::give_up_silent() {
  const SteadyPoint now = std::chrono::steady_clock::now();
  std::set<std::string> silent;
  for (const auto& [sequence, published] : unconfirmed_) {
    const std::string& queue = published.hint.queue;
    auto answered_since = [&](const auto& answered) { return answered.second >= published.at; };
    if (now - published.at < call_timeout_ * 2 / 3) continue;
    auto own = answered_at_.find(queue);
    if (own != answered_at_.end() && answered_since(*own)) continue;
    if (std::ranges::any_of(answered_at_, answered_since)) silent.insert(queue);
  }
  for (const std::string& queue : silent) give_up(queue);
}

void Announcer::give_up(const std::string& queue) {
  notices_.silent(queue, names_.in_rabbitmq(queue));
  refused_.insert(queue);
  Silence& silence = silent_[queue];
  silence.ask_again = std::chrono::steady_clock::now() + ask_again_after(silence.times++);
  gave_up_ |= std::erase_if(unconfirmed_,
                            [&](const auto& each) { return each.second.hint.queue == queue; }) > 0;
  under_way_.erase(queue);
}

// What is under way there would count against the next ones: see kUnderWayOfAQueue.
void Announcer::close_if_given_up() {
  if (!std::exchange(gave_up_, false)) return;
  link_.lost(
      Error(Errc::unavailable,
            fmt::format("RabbitMQ at {}: a queue does not answer, and hints for it are under "
                        "way",
                        link_.view().where)));
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
