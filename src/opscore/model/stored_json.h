#pragma once
// How model/ writes its structures as JSON into columns, and reads them back. Internal to model.

#include <fmt/format.h>

#include <optional>
#include <string>
#include <string_view>

#include "opscore/base/json.h"
#include "opscore/base/json_reader.h"
#include "opscore/model/task.h"

namespace opscore {

// Writes the members of one JSON object, leaving out empty texts; no member at all is empty text.
class ObjectWriter {
 public:
  void text(std::string_view name, std::string_view value) {
    if (!value.empty()) append_quoted(member(name), value);
  }
  void json(std::string_view name, std::string_view value) {
    if (!value.empty()) member(name) += value;
  }
  void number(std::string_view name, int64_t value) { member(name) += std::to_string(value); }
  void time(std::string_view name, const std::optional<TimePoint>& at) {
    if (at) number(name, to_ms(*at));
  }
  void duration(std::string_view name, const std::optional<Duration>& duration) {
    if (duration) number(name, duration->count());
  }
  std::string take() {
    if (!out_.empty()) out_ += '}';
    return std::move(out_);
  }

 private:
  std::string& member(std::string_view name) {
    out_ += out_.empty() ? '{' : ',';
    append_quoted(out_, name);
    return out_ += ':';
  }
  std::string out_;
};

// A JSON array of what `write(out, item)` appends for each item; empty when there are none.
template <class Items, class F>
std::string write_array(const Items& items, F&& write) {
  std::string out;
  for (const auto& item : items) {
    out += out.empty() ? '[' : ',';
    write(out, item);
  }
  if (!out.empty()) out += ']';
  return out;
}

inline TimePoint read_time(JsonReader& in) {
  return from_ms(in.integer());
}
inline Duration read_duration(JsonReader& in) {
  return Duration(in.integer());
}
int read_int(JsonReader& in);

std::string encode_retry(const RetryPolicy& retry);
RetryPolicy read_retry(JsonReader& in);

// Reads one stored object with `member(in, name)`; empty text is an empty object. Whatever is wrong
// with it becomes Errc::corrupt.
template <class F>
void read_stored(std::string_view what, std::string_view text, F&& member) {
  if (text.empty()) return;
  try {
    JsonReader in(text);
    in.object([&](std::string_view name) { member(in, name); });
    in.end();
  } catch (const Error& error) {
    throw Error(Errc::corrupt, fmt::format("stored {}: {}", what, error.what()));
  }
}

}  // namespace opscore
