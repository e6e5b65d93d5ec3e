#include "opscore/broker/dramatiq/strict_view.h"

#include <fmt/format.h>

#include <algorithm>

#include "opscore/base/json_cursor.h"
#include "opscore/base/utf8.h"
#include "opscore/broker/dramatiq/python_json.h"

namespace opscore {
namespace {

// Walks compact text and writes it strict.
class StrictWriter {
 public:
  explicit StrictWriter(std::string_view compact) : in_(compact) { out_.json.reserve(in_.size()); }

  StrictView run() {
    while (at_ < in_.size()) step();
    return std::move(out_);
  }

 private:
  struct Level {
    bool is_object;
    size_t index = 0;
    std::string_view name;  // as it is written
  };

  void step() {
    char c = in_[at_];
    switch (c) {
      case '{':
      case '[':
        levels_.push_back({c == '{'});
        is_name_ = c == '{';
        return copy(1);
      case '}':
      case ']':
        levels_.pop_back();
        return copy(1);
      case ',':
        ++levels_.back().index;
        is_name_ = levels_.back().is_object;
        return copy(1);
      case ':':
        is_name_ = false;
        return copy(1);
      case '"':
        return string();
      case 't':
      case 'n':
        return copy(4);
      case 'f':
        return copy(5);
      default:
        return number();
    }
  }
  void copy(size_t size) {
    out_.json += in_.substr(at_, size);
    at_ += size;
  }
  void string() {
    size_t end = python_string_end(in_, at_);
    std::string_view quoted = in_.substr(at_, end - at_);
    if (is_name_ && levels_.back().is_object) levels_.back().name = quoted;
    for (size_t i = 0; i < quoted.size();) i += string_step(quoted.substr(i));
    at_ = end;
  }
  // Appends the first character or escape; how many bytes that was.
  size_t string_step(std::string_view rest) {
    size_t plain = std::min(rest.find('\\'), rest.size());
    if (plain > 0) return out_.json += rest.substr(0, plain), plain;
    if (rest[1] != 'u') return out_.json += rest.substr(0, 2), 2;
    const char* end = rest.data() + rest.size();
    int unit = hex4(rest.data() + 2, end);
    if (is_high_surrogate(unit) && rest.substr(6).starts_with("\\u") &&
        is_low_surrogate(hex4(rest.data() + 8, end)))
      return out_.json += rest.substr(0, 12), 12;
    if (is_high_surrogate(unit) || is_low_surrogate(unit)) out_.json += '\\';
    out_.json += rest.substr(0, 6);
    return 6;
  }
  void number() {
    size_t end = python_value_end(in_, at_);
    std::string_view token = in_.substr(at_, end - at_);
    at_ = end;
    bool word = token == "NaN" || token.ends_with("Infinity");
    if (!word && json_number_value(token)) {
      out_.json += token;
      return;
    }
    out_.json += "null";
    if (out_.lossy_total++ < kLossyPlacesMax) out_.lossy.push_back(path());
  }
  std::string path() const {
    std::string path;
    for (const Level& level : levels_)
      if (level.is_object)
        path += (path.empty() ? "" : ".") + shown(level.name.substr(1, level.name.size() - 2));
      else
        path += fmt::format("[{}]", level.index);
    return path;
  }

  const std::string_view in_;
  size_t at_ = 0;
  bool is_name_ = false;
  std::vector<Level> levels_;
  StrictView out_;
};

}  // namespace

StrictView strict_view(std::string_view compact) {
  return StrictWriter(compact).run();
}

}  // namespace opscore
