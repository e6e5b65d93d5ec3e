#include "opscore/broker/rabbitmq/notices.h"

#include <fmt/format.h>

namespace opscore {

void Notices::blocked(const std::string& reason) {
  MutexLock lock(mutex_);
  if (reason == blocked_) return;
  blocked_ = reason;
  if (reason.empty())
    log_.info("RabbitMQ takes messages again");
  else
    log_.warn("RabbitMQ takes no messages for now: {}", reason);
}

std::string Notices::blocked() const {
  MutexLock lock(mutex_);
  return blocked_;
}

void Notices::silent(const std::string& queue, const std::string& name) {
  refuse(
      queue,
      fmt::format("queue '{}' does not answer; a quorum queue without a leader is like that, and "
                  "so may be one whose node was killed just after it was made. If it stays so, "
                  "delete it, which loses no task when it is opscore's own",
                  name),
      kAskSilentAgain);
}

void Notices::refuse(const std::string& queue, const std::string& why,
                     std::chrono::seconds ask_again) {
  MutexLock lock(mutex_);
  Known& known = refused_[queue];
  if (known.why != why) log_.warn("RabbitMQ refuses {}", why);
  known = {why, std::chrono::steady_clock::now() + ask_again};
}

void Notices::accepted(const std::string& queue) {
  MutexLock lock(mutex_);
  refused_.erase(queue);
}

bool Notices::just_refused(const std::string& queue) const {
  MutexLock lock(mutex_);
  auto found = refused_.find(queue);
  return found != refused_.end() && std::chrono::steady_clock::now() < found->second.ask_again;
}

std::string Notices::why_refused(const std::string& queue) const {
  MutexLock lock(mutex_);
  auto found = refused_.find(queue);
  return found == refused_.end() ? std::string() : found->second.why;
}

std::vector<Refusal> Notices::refusals() const {
  MutexLock lock(mutex_);
  std::vector<Refusal> all;
  for (const auto& [queue, known] : refused_) all.push_back({queue, known.why});
  return all;
}

}  // namespace opscore
