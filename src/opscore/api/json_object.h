#pragma once
// Writes one JSON object by hand, straight into the answer: no document in between. Names are
// literals of ours and need no escaping; raw values are JSON already. Not thread-safe.

#include <charconv>
#include <optional>
#include <string>
#include <string_view>

#include "opscore/base/json.h"
#include "opscore/base/time.h"

namespace opscore {

class JsonObject {
 public:
  explicit JsonObject(std::string& out) : out_(out) { out_ += '{'; }
  JsonObject(const JsonObject&) = delete;

  void raw(std::string_view name, std::string_view json) {
    if (!first_) out_ += ',';
    first_ = false;
    out_ += '"';
    out_ += name;
    out_ += "\":";
    out_ += json;
  }
  void text(std::string_view name, std::string_view value) {
    raw(name, {});
    append_quoted(out_, value);
  }
  // For words of ours and names that were checked: nothing to escape.
  void word(std::string_view name, std::string_view value) {
    raw(name, "\"");
    out_ += value;
    out_ += '"';
  }
  void number(std::string_view name, int64_t value) {
    char digits[24];
    auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
    raw(name, std::string_view(digits, static_cast<size_t>(end - digits)));
  }
  void boolean(std::string_view name, bool value) { raw(name, value ? "true" : "false"); }
  void null(std::string_view name) { raw(name, "null"); }
  void time(std::string_view name, TimePoint at) { word(name, to_rfc3339(at)); }
  void time(std::string_view name, const std::optional<TimePoint>& at) {
    at ? time(name, *at) : null(name);
  }
  // An empty text means that there is none.
  void text_or_null(std::string_view name, std::string_view value) {
    value.empty() ? null(name) : text(name, value);
  }
  void raw_or_null(std::string_view name, std::string_view json) {
    raw(name, json.empty() ? "null" : json);
  }
  void close() { out_ += '}'; }

 private:
  std::string& out_;
  bool first_ = true;
};

// `items` as a JSON array, each written by `write(out, item)`.
template <class Items, class Write>
void append_array(std::string& out, const Items& items, Write&& write) {
  out += '[';
  bool first = true;
  for (const auto& item : items) {
    if (!first) out += ',';
    first = false;
    write(out, item);
  }
  out += ']';
}

}  // namespace opscore
