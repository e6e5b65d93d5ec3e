#include "opscore/engine/foreign_rows.h"

#include <fmt/format.h>

#include "opscore/base/json.h"

namespace opscore {

OutboxRow to_row(const ForeignMessage& message, TimePoint not_before) {
  Json properties = Json::object();
  if (message.priority) properties["priority"] = *message.priority;
  if (!message.headers.empty()) properties["headers"] = message.headers;
  OutboxRow row;
  row.kind = OutboxRow::Kind::amqp;
  row.destination = message.queue;
  row.body = message.body;
  row.properties = properties.dump();
  row.not_before = not_before;
  return row;
}

ForeignMessage to_message(const OutboxRow& row) {
  try {
    const Json properties = parse_json(row.properties);
    ForeignMessage message{row.destination, row.body, {}, {}};
    if (auto priority = properties.find("priority"); priority != properties.end())
      message.priority = priority->get<uint8_t>();
    if (auto headers = properties.find("headers"); headers != properties.end())
      headers->get_to(message.headers);
    return message;
  } catch (const std::exception& problem) {
    throw Error(Errc::corrupt,
                fmt::format("outbox row {} for queue '{}': its properties are not a message's: {}",
                            row.id, row.destination, problem.what()));
  }
}

}  // namespace opscore
