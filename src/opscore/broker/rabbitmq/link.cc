#include "opscore/broker/rabbitmq/link.h"

#include <fmt/format.h>

#include <algorithm>

namespace opscore {
namespace {

constexpr Duration kBackoffMin{100};
constexpr Duration kBackoffMax{10'000};
constexpr Duration kWhenConnected{60'000};

std::chrono::milliseconds backoff(int failures, Random& random) {
  Duration limit = std::min(kBackoffMax, kBackoffMin * (1 << std::min(failures, 10)));
  return Duration(
      static_cast<int64_t>(static_cast<double>(limit.count()) * (0.5 + random.unit() / 2)));
}

}  // namespace

Link::Link(std::vector<AmqpUrl> urls, ConnectionOptions options, Log& log, Random& random,
           Tend tend)
    : urls_(std::move(urls)),
      options_(std::move(options)),
      log_(log),
      random_(random),
      tend_(std::move(tend)),
      loop_("rabbitmq", log, [this](std::stop_token stop) { return tick(stop); }) {}

Link::~Link() {
  stop();
}

void Link::start() {
  loop_.start();
}

void Link::stop() {
  loop_.stop();
  std::unique_ptr<Connection> ending;
  MutexLock lock(mutex_);
  stopped_ = true;
  ending = std::move(connection_);
  changed_.notify_all();
}

uint64_t Link::generation() const {
  MutexLock lock(mutex_);
  return generation_;
}

Link::View Link::view() const {
  MutexLock lock(mutex_);
  return {connection_ ? connection_->where() : urls_.front().where(), problem_};
}

Connection& Link::get(Deadline deadline) {
  MutexLock lock(mutex_);
  while (!connection_) {
    if (stopped_ || failures_ > 0 || deadline.passed())
      throw Error(Errc::unavailable,
                  problem_.empty()
                      ? fmt::format("RabbitMQ at {}: not connected yet", urls_.front().where())
                      : problem_);
    changed_.wait_until(lock, std::min(deadline.when(),
                                       std::chrono::steady_clock::now() + std::chrono::seconds(1)));
  }
  return *connection_;
}

void Link::lost(const Error& why) {
  std::unique_ptr<Connection> ending;
  {
    MutexLock lock(mutex_);
    if (!connection_) return;
    ending = std::move(connection_);
    problem_ = why.message();
    // A little jitter, so that not all workers come back in the same instant.
    next_attempt_ = std::chrono::steady_clock::now() + backoff(0, random_);
  }
  log_.warn("{}; connecting again as '{}'", why.message(), options_.name());
  loop_.wake();
}

Duration Link::tick(std::stop_token stop) {
  MutexLock lock(mutex_);
  bool connected = connection_ != nullptr;
  auto wait = std::chrono::ceil<Duration>(next_attempt_ - std::chrono::steady_clock::now());
  lock.unlock();
  if (connected) return tend_ ? tend_() : kWhenConnected;
  if (wait > Duration(0)) return wait;
  try {
    auto connection = connect(stop);
    log_.info("connected to RabbitMQ at {} as '{}'", connection->where(), options_.name());
    lock.lock();
    connection_ = std::move(connection);
    ++generation_;
    failures_ = 0;
    problem_.clear();
    changed_.notify_all();
  } catch (const Error& error) {
    failed(error);
  }
  return Duration(0);
}

std::unique_ptr<Connection> Link::connect(std::stop_token stop) {
  std::string problems;
  for (const AmqpUrl& url : urls_) {
    if (stop.stop_requested()) break;
    try {
      return Connection::open(url, options_);
    } catch (const Error& error) {
      if (!problems.empty()) problems += "; ";
      problems += error.message();
    }
  }
  throw Error(Errc::unavailable, problems);
}

void Link::failed(const Error& why) {
  MutexLock lock(mutex_);
  auto wait = backoff(++failures_, random_);
  next_attempt_ = std::chrono::steady_clock::now() + wait;
  // Once for each reason: the server may be away for hours.
  bool news = problem_ != why.message();
  problem_ = why.message();
  if (news) log_.warn("{}; trying again, next in {}", problem_, to_text(wait));
  changed_.notify_all();
}

}  // namespace opscore
