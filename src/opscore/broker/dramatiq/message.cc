#include "opscore/broker/dramatiq/message.h"

#include <fmt/format.h>

#include <array>
#include <cmath>

#include "opscore/base/json.h"
#include "opscore/base/json_cursor.h"
#include "opscore/base/utf8.h"

namespace opscore {
namespace {

enum class Type { text, array, object, number };

struct Field {
  std::string_view name;
  Type type;
  bool required;
};
constexpr std::array<Field, 7> kFields{{{"queue_name", Type::text, true},
                                        {"actor_name", Type::text, true},
                                        {"args", Type::array, true},
                                        {"kwargs", Type::object, true},
                                        {"options", Type::object, true},
                                        {"message_id", Type::text, false},
                                        {"message_timestamp", Type::number, false}}};

// What a whole number can be for us; far beyond any time and any count.
constexpr double kIntegerMax = 9e15;

std::string_view words_of(Type type) {
  switch (type) {
    case Type::text:
      return "a string";
    case Type::array:
      return "an array";
    case Type::object:
      return "an object";
    case Type::number:
      return "a number";
  }
  return "a value";
}

std::optional<double> number_of(std::string_view value) {
  if (value.empty() || (value[0] != '-' && (value[0] < '0' || value[0] > '9')) ||
      value == "-Infinity")
    return std::nullopt;
  return json_number_value(value);
}

bool is_of(Type type, std::string_view value) {
  switch (type) {
    case Type::text:
      return value[0] == '"';
    case Type::array:
      return value[0] == '[';
    case Type::object:
      return value[0] == '{';
    case Type::number:
      return number_of(value).has_value();
  }
  return false;
}

std::unexpected<Error> malformed(const std::string& what) {
  return std::unexpected(Error(Errc::malformed, "not a Dramatiq message: " + what));
}

std::optional<std::string> problem_of(const PythonMembers& fields) {
  for (const PythonMembers::Member& member : fields.members) {
    auto field = std::find_if(kFields.begin(), kFields.end(),
                              [&](const Field& known) { return known.name == member.name; });
    if (field == kFields.end())
      return fmt::format("unknown field '{}'", to_valid_utf8(shown(member.name)));
    if (!is_of(field->type, member.value))
      return fmt::format("{} must be {}, found {}", field->name, words_of(field->type),
                         shown(member.value));
  }
  for (const Field& field : kFields)
    if (field.required && !fields.find(field.name)) return fmt::format("{} is missing", field.name);
  return std::nullopt;
}

}  // namespace

std::expected<DramatiqMessage, Error> decode_dramatiq(std::string_view body) {
  if (body.size() > kDramatiqBodyMax)
    return std::unexpected(
        Error(Errc::too_large, fmt::format("the message is {} bytes long, at most {} are read",
                                           body.size(), kDramatiqBodyMax)));
  auto compact = compact_python(body);
  if (!compact) return malformed(compact.error().message());
  if (compact->front() != '{') return malformed("it is " + shown(*compact));
  const PythonMembers fields = PythonMembers::of_object(*compact);
  if (auto problem = problem_of(fields)) return malformed(*problem);
  DramatiqMessage message;
  message.queue_name = unquote_python(*fields.find("queue_name"));
  message.actor_name = unquote_python(*fields.find("actor_name"));
  message.args = *fields.find("args");
  message.kwargs = *fields.find("kwargs");
  message.options = PythonMembers::of_object(*fields.find("options"));
  if (const std::string* id = fields.find("message_id")) message.message_id = unquote_python(*id);
  if (const std::string* made = fields.find("message_timestamp")) message.message_timestamp = *made;
  return message;
}

std::string encode_dramatiq(const DramatiqMessage& message) {
  std::string out = "{\"queue_name\":" + quote_python(message.queue_name);
  out += ",\"actor_name\":" + quote_python(message.actor_name);
  out += ",\"args\":" + message.args;
  out += ",\"kwargs\":" + message.kwargs;
  out += ",\"options\":" + message.options.encode();
  if (!message.message_id.empty()) out += ",\"message_id\":" + quote_python(message.message_id);
  if (!message.message_timestamp.empty())
    out += ",\"message_timestamp\":" + message.message_timestamp;
  return out + '}';
}

std::string_view canonical_queue(std::string_view queue_name) {
  if (queue_name.ends_with(kDelayedSuffix) || queue_name.ends_with(kDeadSuffix))
    queue_name.remove_suffix(kDelayedSuffix.size());
  return queue_name;
}

std::optional<double> number_option(const PythonMembers& options, std::string_view name) {
  const std::string* value = options.find(name);
  if (!value) return std::nullopt;
  if (*value == "true") return 1;
  if (*value == "false") return 0;
  return number_of(*value);
}

std::optional<int64_t> integer_option(const PythonMembers& options, std::string_view name) {
  auto number = number_option(options, name);
  if (!number || std::abs(*number) > kIntegerMax) return std::nullopt;
  return static_cast<int64_t>(*number);
}

std::optional<std::string> text_option(const PythonMembers& options, std::string_view name) {
  const std::string* value = options.find(name);
  if (!value || value->front() != '"') return std::nullopt;
  return unquote_python(*value);
}

bool is_true(const PythonMembers& options, std::string_view name) {
  const std::string* value = options.find(name);
  if (!value) return false;
  if (auto number = number_of(*value)) return *number != 0;
  return *value != "null" && *value != "false" && *value != "\"\"" && *value != "[]" &&
         *value != "{}";
}

bool is_null(const PythonMembers& options, std::string_view name) {
  const std::string* value = options.find(name);
  return value && *value == "null";
}

std::optional<int64_t> made_at_ms(const DramatiqMessage& message) {
  auto number = number_of(message.message_timestamp);
  if (!number || std::abs(*number) > kIntegerMax) return std::nullopt;
  return static_cast<int64_t>(*number);
}

}  // namespace opscore
