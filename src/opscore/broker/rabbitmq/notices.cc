#include "opscore/broker/rabbitmq/notices.h"

namespace opscore {

void Notices::blocked(const std::string& reason) {
  MutexLock lock(mutex_);
  if (reason == blocked_) return;
  blocked_ = reason;
  if (reason.empty())
    log_.info("RabbitMQ takes hints again");
  else
    log_.warn("RabbitMQ takes no hints for now: {}", reason);
}

std::string Notices::blocked() const {
  MutexLock lock(mutex_);
  return blocked_;
}

void Notices::refused(const std::string& queue, const std::string& why) {
  MutexLock lock(mutex_);
  Known& known = refused_[queue];
  if (known.why != why) log_.warn("RabbitMQ refuses {}", why);
  known = {why, std::chrono::steady_clock::now() + kAskAgain};
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
