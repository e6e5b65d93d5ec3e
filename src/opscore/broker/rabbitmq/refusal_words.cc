#include "opscore/broker/rabbitmq/refusal_words.h"

#include <fmt/format.h>

#include <optional>
#include <regex>

namespace opscore {
namespace {

constexpr uint16_t kAccessRefused = 403;
constexpr uint16_t kNotAllowed = 530;

// RabbitMQ names the first argument that differs:
//   inequivalent arg 'durable' for queue 'q' in vhost '/': received 'true' but current is 'false'
//   ...: received the value 'quorum' of type 'longstr' but current is none
std::optional<std::string> other_arguments(const std::string& text) {
  static const std::regex kInequivalent(
      "inequivalent arg '([^']*)' for queue.*: received .* but current is (.*)");
  std::smatch match;
  if (!std::regex_search(text, match, kInequivalent)) return std::nullopt;
  return match[2] == "none" ? fmt::format("no {}", match[1].str())
                            : fmt::format("{} = {}", match[1].str(), match[2].str());
}

}  // namespace

std::string declared_arguments(std::string_view queue_type) {
  return queue_type == "quorum"
             ? fmt::format("durable, x-queue-type = 'quorum', x-delivery-limit = {}",
                           kDeliveryLimit)
             : fmt::format("durable, x-queue-type = '{}'", queue_type);
}

std::string explain_refused_queue(uint16_t code, const std::string& text, const std::string& queue,
                                  std::string_view queue_type, const AmqpUrl& url) {
  if (auto others = other_arguments(text))
    return fmt::format(
        "queue '{}' exists in vhost '{}' with other arguments. opscore declares it with: {}. "
        "RabbitMQ has it with: {} (it tells the first difference only). Either delete it, which "
        "loses no task (rabbitmqctl delete_queue '{}' --vhost '{}'), or give opscore a vhost of "
        "its "
        "own in the broker URL",
        queue, url.vhost, declared_arguments(queue_type), *others, queue, url.vhost);
  if (code == kAccessRefused)
    return fmt::format(
        "user '{}' may not use queue '{}' in vhost '{}': {}. Allow it with: rabbitmqctl "
        "set_permissions -p '{}' '{}' '^opscore\\.' '.*' '^opscore\\.'",
        url.user, queue, url.vhost, text, url.vhost, url.user);
  return fmt::format("queue '{}' in vhost '{}': {}", queue, url.vhost, text);
}

std::string explain_refused_other_queue(uint16_t code, const std::string& text,
                                        const std::string& queue, const AmqpUrl& url) {
  if (code == kAccessRefused)
    return fmt::format(
        "user '{}' may not use queue '{}' in vhost '{}': {}. Allow it with: rabbitmqctl "
        "set_permissions -p '{}' '{}' '.*' '.*' '.*'",
        url.user, queue, url.vhost, text, url.vhost, url.user);
  if (auto others = other_arguments(text))
    return fmt::format("queue '{}' in vhost '{}' was just declared by somebody else, with {}: {}",
                       queue, url.vhost, *others, text);
  return fmt::format("queue '{}' in vhost '{}': {}", queue, url.vhost, text);
}

std::string explain_refused_login(uint16_t code, const std::string& text, const AmqpUrl& url) {
  if (code == kAccessRefused)
    return fmt::format("user '{}' or its password is wrong ({})", url.user, text);
  if (code == kNotAllowed && url.vhost.empty())
    return fmt::format(
        "{}. The URL ends with a '/', which names the vhost without a name; for the vhost '/' "
        "leave the '/' away or write /%2F",
        text);
  if (code == kNotAllowed)
    return fmt::format(
        "{}. Create it (rabbitmqctl add_vhost '{}'), or let the user in (rabbitmqctl "
        "set_permissions -p '{}' '{}' '.*' '.*' '.*')",
        text, url.vhost, url.vhost, url.user);
  return text;
}

}  // namespace opscore
