#pragma once
// A message of Dramatiq, as its brokers carry it:
//
//   {"queue_name":S,"actor_name":S,"args":[...],"kwargs":{...},"options":{...},
//    "message_id":S,"message_timestamp":I}
//
// Decoding is lossless for what Python would read from the bytes: numbers stay the text that they
// were and names keep their order, so what Python wrote is encoded to the same bytes. Pure.

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "opscore/base/error.h"
#include "opscore/broker/dramatiq/python_json.h"

namespace opscore {

// Bodies beyond this are not decoded.
inline constexpr size_t kDramatiqBodyMax = 16 << 20;

struct DramatiqMessage {
  std::string queue_name;  // of the queue that it is on: Q, or Q.DQ while it is delayed
  std::string actor_name;
  std::string args = "[]";    // compact text
  std::string kwargs = "{}";  // compact text
  PythonMembers options;
  std::string message_id;         // empty: Python would make one up each time it reads the message
  std::string message_timestamp;  // a number's text, ms since the epoch; empty likewise
  bool operator==(const DramatiqMessage&) const = default;
};

// Errc::malformed says what is wrong, in words for people: not JSON, not UTF-8, a field that is
// missing, unknown or of another type. Errc::too_large: beyond kDramatiqBodyMax. Refuses what
// Python's workers refuse, and also what would stop them: options that are null.
std::expected<DramatiqMessage, Error> decode_dramatiq(std::string_view body);
std::string encode_dramatiq(const DramatiqMessage& message);

// Q of Q, Q.DQ and Q.XQ.
std::string_view canonical_queue(std::string_view queue_name);
inline constexpr std::string_view kDelayedSuffix = ".DQ";
inline constexpr std::string_view kDeadSuffix = ".XQ";

// Values of options as Python means them. Nothing when the option is absent, null, or no such
// value.
std::optional<double> number_option(const PythonMembers& options, std::string_view name);
std::optional<int64_t> integer_option(const PythonMembers& options, std::string_view name);
std::optional<std::string> text_option(const PythonMembers& options, std::string_view name);
// Whether `if options.get(name)` holds.
bool is_true(const PythonMembers& options, std::string_view name);
bool is_null(const PythonMembers& options, std::string_view name);
// When the message was made first; nothing when it does not say.
std::optional<int64_t> made_at_ms(const DramatiqMessage& message);

}  // namespace opscore
