#include "opscore/model/handover.h"

#include "opscore/model/stored_json.h"

namespace opscore {
namespace {

constexpr std::string_view kDestination = "handover:";
constexpr std::string_view kPrefix = "opscore:";

bool is_hex(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

bool is_uuid(std::string_view text) {
  if (text.size() != 36) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? text[i] != '-' : !is_hex(text[i])) return false;
  }
  return true;
}

}  // namespace

OutboxRow handover_row(TaskKey task, const std::string& queue, int attempt, TimePoint now) {
  ObjectWriter body;
  body.number("task", task.value);
  body.number("attempt", attempt);
  return {0, OutboxRow::Kind::amqp, handover_destination(queue), body.take(), {}, now};
}

std::string handover_destination(std::string_view queue) {
  return std::string(kDestination).append(queue);
}

std::optional<Handover> decode_handover(const OutboxRow& row) {
  if (row.kind != OutboxRow::Kind::amqp || !row.destination.starts_with(kDestination))
    return std::nullopt;
  Handover handover;
  read_stored("handover row", row.body, [&](JsonReader& in, std::string_view name) {
    if (name == "task")
      handover.task = TaskKey{in.integer()};
    else if (name == "attempt")
      handover.attempt = read_int(in);
    else
      in.raw();
  });
  return handover;
}

std::string message_id_of(std::string_view task_id) {
  return std::string(is_uuid(task_id) ? kPrefix : "").append(task_id);
}

std::vector<std::string> task_ids_of(std::string_view message_id) {
  if (is_uuid(message_id)) return {};
  std::vector<std::string> ids{std::string(message_id)};
  if (message_id.starts_with(kPrefix) && is_uuid(message_id.substr(kPrefix.size())))
    ids.insert(ids.begin(), std::string(message_id.substr(kPrefix.size())));
  return ids;
}

}  // namespace opscore
