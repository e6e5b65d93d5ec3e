#include "opscore/broker/rabbitmq/publisher.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

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

Publisher::Publisher(std::vector<AmqpUrl> urls, ConnectionOptions connection,
                     PublisherOptions options, Notices& notices, Log& log, Random& random)
    : call_timeout_(connection.call_timeout),
      options_(std::move(options)),
      notices_(notices),
      link_(std::move(urls), std::move(connection), log, random, [this] { return tend(); }) {}

std::set<std::string> Publisher::publish(std::span<const ForeignMessage> messages) {
  if (messages.empty()) return {};
  Deadline deadline = Deadline::after(call_timeout_);
  Lock turn = take_turn(deadline);
  Connection& server = connection(deadline);
  forget_call();
  Messages usual, silent;
  for (const ForeignMessage& message : messages) {
    (silent_.contains(message.queue) ? silent : usual).push_back(&message);
    ++not_taken_[message.queue];
  }
  try {
    try {
      deliver(server, std::move(usual), deadline);
    } catch (const Error& error) {
      if (server.broken()) link_.lost(error);
      throw;
    }
    close_if_given_up();
    ask_silent(silent);
  } catch (const Error&) {
    forget_call();
    throw;
  }
  return std::exchange(refused_, {});
}

// The messages are the caller's and end with the call, also those that are under way.
void Publisher::forget_call() {
  for (auto& [sequence, published] : unconfirmed_) published.message = nullptr;
  not_taken_.clear();
  refused_.clear();
  again_.clear();
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

void Publisher::deliver(Connection& server, Messages messages, Deadline deadline) {
  const size_t count = messages.size();
  messages = send(server, messages, deadline);
  for (Duration pause(5); !messages.empty(); pause *= 2) {
    if (deadline.passed())
      throw Error(Errc::unavailable,
                  fmt::format("RabbitMQ at {} did not take {} of {} messages in time, one of them "
                              "for queue '{}'",
                              server.where(), messages.size(), count,
                              options_.names.in_rabbitmq(messages[0]->queue)));
    if (auto incoming = server.next(Deadline::after(pause))) handle(*incoming);
    messages = send(server, messages, deadline);
  }
}

// Their turn comes last and is short, since it is in vain most of the time.
void Publisher::ask_silent(const Messages& messages) {
  const SteadyPoint now = std::chrono::steady_clock::now();
  Messages asked;
  for (const ForeignMessage* message : messages)
    if (silent_[message->queue].ask_again <= now)
      asked.push_back(message);
    else
      refused_.insert(message->queue);
  if (asked.empty()) return;
  Connection& server = connection(Deadline::after(call_timeout_));
  Deadline deadline = Deadline::after(kSilentPatience);
  try {
    deliver(server, asked, deadline);
  } catch (const Error& error) {
    if (server.broken()) link_.lost(error);
    if (!deadline.passed()) throw;
  }
  for (const ForeignMessage* message : asked)
    if (not_taken_[message->queue] > 0 && !refused_.contains(message->queue))
      give_up(message->queue);
  close_if_given_up();
}

Publisher::Messages Publisher::send(Connection& server, const Messages& messages,
                                    Deadline deadline) {
  again_.clear();
  std::map<std::string, std::deque<const ForeignMessage*>> waiting;
  for (const ForeignMessage* message : messages) waiting[message->queue].push_back(message);
  while (!waiting.empty()) {
    for (auto& [queue, of_queue] : waiting) send_some(server, of_queue, deadline);
    std::erase_if(waiting, [](const auto& each) { return each.second.empty(); });
    // While others are answered the next ones are under way.
    wait_until_unconfirmed(server, waiting.empty() ? 0 : unconfirmed_.size() / 2, deadline);
  }
  return std::move(again_);
}

// As many as may be under way. The rest are dropped when their queue is refused.
void Publisher::send_some(Connection& server, std::deque<const ForeignMessage*>& waiting,
                          Deadline deadline) {
  const std::string& queue = waiting.front()->queue;
  while (!waiting.empty() && under_way_[queue] < kUnderWayOfAQueue) {
    if (!declared(server, queue)) return waiting.clear();
    wait_until_unconfirmed(server, options_.window - 1, deadline);
    if (refused_.contains(queue)) return waiting.clear();  // it was given up meanwhile
    const ForeignMessage* message = waiting.front();
    server.publish(options_.names.in_rabbitmq(queue), message->body,
                   {options_.content_type, message->priority, message->headers}, deadline);
    waiting.pop_front();
    ++under_way_[queue];
    unconfirmed_.emplace(++last_sequence_,
                         Published{queue, message, std::chrono::steady_clock::now()});
  }
}

bool Publisher::declared(Connection& server, const std::string& queue) {
  std::string name = options_.names.in_rabbitmq(queue);
  if (refused_.contains(queue)) return false;
  if (declared_.contains(name)) return true;
  const bool was_silent = silent_.contains(queue);
  if (!was_silent && notices_.just_refused(queue)) {
    refused_.insert(queue);
    return false;
  }
  auto refusal = options_.names.problem(queue);
  if (!refusal) {
    const Duration patience = was_silent ? kSilentPatience : call_timeout_;
    Deadline deadline = Deadline::after(patience);
    try {
      refusal = options_.declare(server, name, patience);
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

void Publisher::wait_until_unconfirmed(Connection& server, size_t at_most, Deadline deadline) {
  for (;;) {
    notices_.blocked(server.blocked());
    if (!server.blocked().empty())
      throw Error(Errc::unavailable, fmt::format("RabbitMQ at {} takes no messages for now: {}",
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
                  fmt::format("RabbitMQ at {}: {} messages were not confirmed in time, one of them "
                              "for queue '{}'",
                              server.where(), unconfirmed_.size(),
                              options_.names.in_rabbitmq(unconfirmed_.begin()->second.queue)));
  }
}

void Publisher::handle(const Incoming& incoming) {
  if (auto* confirmed = std::get_if<Confirmed>(&incoming)) {
    auto end = unconfirmed_.upper_bound(confirmed->sequence);
    auto begin =
        confirmed->multiple ? unconfirmed_.begin() : unconfirmed_.lower_bound(confirmed->sequence);
    for (auto it = begin; it != end; ++it) {
      const auto& [queue, message, at] = it->second;
      --under_way_[queue];
      answered_at_[queue] = std::chrono::steady_clock::now();
      if (confirmed->taken && silent_.erase(queue) > 0) notices_.accepted(queue);
      if (!message) continue;
      if (!confirmed->taken || without_queue_.contains(options_.names.in_rabbitmq(queue)))
        again_.push_back(message);
      else
        --not_taken_[queue];
    }
    unconfirmed_.erase(begin, end);
  } else if (auto* returned = std::get_if<Returned>(&incoming)) {
    // RabbitMQ confirms it all the same, afterwards.
    declared_.erase(returned->queue);
    without_queue_.insert(returned->queue);
  }
}

// A queue is silent whose message has waited for most of the time, and for longer than it took
// RabbitMQ to answer another queue.
void Publisher::give_up_silent() {
  const SteadyPoint now = std::chrono::steady_clock::now();
  std::set<std::string> silent;
  for (const auto& [sequence, published] : unconfirmed_) {
    auto answered_since = [&](const auto& answered) { return answered.second >= published.at; };
    if (now - published.at < call_timeout_ * 2 / 3) continue;
    auto own = answered_at_.find(published.queue);
    if (own != answered_at_.end() && answered_since(*own)) continue;
    if (std::ranges::any_of(answered_at_, answered_since)) silent.insert(published.queue);
  }
  for (const std::string& queue : silent) give_up(queue);
}

void Publisher::give_up(const std::string& queue) {
  notices_.silent(queue, options_.names.in_rabbitmq(queue));
  refused_.insert(queue);
  Silence& silence = silent_[queue];
  silence.ask_again = std::chrono::steady_clock::now() + ask_again_after(silence.times++);
  gave_up_ |=
      std::erase_if(unconfirmed_, [&](const auto& each) { return each.second.queue == queue; }) > 0;
  under_way_.erase(queue);
}

// What is under way there would count against the next ones: see kUnderWayOfAQueue.
void Publisher::close_if_given_up() {
  if (!std::exchange(gave_up_, false)) return;
  link_.lost(Error(Errc::unavailable,
                   fmt::format("RabbitMQ at {}: a queue does not answer, and messages for it are "
                               "under way",
                               link_.view().where)));
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
