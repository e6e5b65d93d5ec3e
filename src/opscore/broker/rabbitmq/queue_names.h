#pragma once
// How queues of opscore are called in RabbitMQ: with a prefix. Pure.

#include <fmt/format.h>

#include <optional>
#include <string>
#include <string_view>

namespace opscore {

class QueueNames {
 public:
  explicit QueueNames(std::string prefix) : prefix_(std::move(prefix)) {}

  std::string in_rabbitmq(std::string_view queue) const { return prefix_ + std::string(queue); }
  std::string in_opscore(std::string_view name) const {
    return std::string(name.substr(prefix_.size()));
  }
  // Why RabbitMQ cannot have a queue of that name.
  std::optional<std::string> problem(std::string_view queue) const {
    size_t size = prefix_.size() + queue.size();
    if (size <= kNameMax) return std::nullopt;
    return fmt::format("queue '{}...': its name is {} bytes long with the prefix '{}', at most {}",
                       queue.substr(0, 32), size, prefix_, kNameMax);
  }

 private:
  static constexpr size_t kNameMax = 230;  // RabbitMQ takes 255, for consumer tags too

  std::string prefix_;
};

}  // namespace opscore
