#include "opscore/broker/foreign_row.h"

#include <fmt/format.h>

#include "opscore/base/json.h"
#include "opscore/base/json_reader.h"

namespace opscore {

OutboxRow row_of_message(const ForeignMessage& message, TimePoint not_before) {
  std::string properties;
  if (message.priority) properties = fmt::format("\"priority\":{}", *message.priority);
  if (!message.headers.empty()) {
    std::string headers;
    for (const auto& [name, value] : message.headers) {
      if (!headers.empty()) headers += ',';
      append_quoted(headers, name);
      headers += ':';
      append_quoted(headers, value);
    }
    if (!properties.empty()) properties += ',';
    properties += "\"headers\":{" + headers + "}";
  }
  if (!properties.empty()) properties = "{" + properties + "}";
  return {0, OutboxRow::Kind::amqp, message.queue, message.body, properties, not_before};
}

ForeignMessage message_of_row(const OutboxRow& row) {
  ForeignMessage message{row.destination, row.body, {}, {}};
  if (row.properties.empty()) return message;
  try {
    JsonReader in(row.properties);
    in.object([&](std::string_view name) {
      if (name == "priority")
        message.priority = static_cast<uint8_t>(in.integer());
      else if (name == "headers")
        in.object([&](std::string_view header) {
          message.headers.emplace_back(std::string(header), in.string());
        });
      else
        in.raw();
    });
    in.end();
  } catch (const Error& error) {
    throw Error(Errc::corrupt,
                fmt::format("row {} of the outbox: its properties: {}", row.id, error.what()));
  }
  return message;
}

}  // namespace opscore
