#include "opscore/base/json_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "opscore/base/json.h"
#include "opscore/base/utf8.h"

namespace opscore {
namespace {

// Up to here a linear search for repeated names is faster than any index.
constexpr size_t kScannedNames = 32;

std::string_view words_for(JsonReader::Type type) {
  switch (type) {
    case JsonReader::Type::object:
      return "an object";
    case JsonReader::Type::array:
      return "an array";
    case JsonReader::Type::string:
      return "a string";
    case JsonReader::Type::number:
      return "a number";
    case JsonReader::Type::boolean:
      return "true or false";
    case JsonReader::Type::null:
      return "null";
  }
  return "a value";
}

}  // namespace

JsonReader::Type JsonReader::peek() {
  cursor_.skip_space();
  switch (cursor_.peek()) {
    case '{':
      return Type::object;
    case '[':
      return Type::array;
    case '"':
      return Type::string;
    case 't':
    case 'f':
      return Type::boolean;
    case 'n':
      return Type::null;
    default:
      if (cursor_.peek() != '-' && (cursor_.peek() < '0' || cursor_.peek() > '9'))
        check(cursor_.fail("expected a value"));
      return Type::number;
  }
}

void JsonReader::expect(Type wanted) {
  if (Type found = peek(); found != wanted) fail_type(words_for(wanted), found);
}

void JsonReader::begin_level(Type type) {
  expect(type);
  if (levels_.size() == kJsonDepthMax)
    check(cursor_.fail("too many levels of nesting; at most 128 are read"));
  cursor_.skip_byte();
  Level& level = levels_.emplace_back();
  level.is_object = type == Type::object;
  level.first_seen = seen_.size();
}

void JsonReader::begin_object() {
  begin_level(Type::object);
}
void JsonReader::begin_array() {
  begin_level(Type::array);
}

bool JsonReader::next_item(Level& level, char closer, const char* problem) {
  cursor_.skip_space();
  if (cursor_.peek() == closer) {
    cursor_.skip_byte();
    seen_.resize(level.first_seen);
    levels_.pop_back();
    return false;
  }
  if (level.started) {
    if (cursor_.peek() != ',') check(cursor_.fail(problem));
    cursor_.skip_byte();
    cursor_.skip_space();
  }
  level.started = true;
  return true;
}

bool JsonReader::next_member(std::string_view& name) {
  Level& level = levels_.back();
  if (!next_item(level, '}', "expected ',' or '}'")) return false;
  size_t start = cursor_.offset();
  bool escaped;
  check(cursor_.skip_name(escaped));
  // Up to the closing quote; the colon and white space before it come after.
  std::string_view quoted = cursor_.since(start);
  quoted = quoted.substr(0, quoted.rfind('"') + 1);
  name = escaped ? unescaped_.emplace_front(unescape_json(quoted))
                 : quoted.substr(1, quoted.size() - 2);
  level.name = name;
  if (is_repeated(level, name))
    throw Error(Errc::malformed,
                fmt::format("malformed JSON at line {}, column {}: the name '{}' is repeated",
                            place_of(cursor_.text(), start).line,
                            place_of(cursor_.text(), start).column, shown(name)));
  return true;
}

bool JsonReader::is_repeated(Level& level, std::string_view name) {
  auto first = seen_.begin() + static_cast<ptrdiff_t>(level.first_seen);
  if (std::find(first, seen_.end(), name) != seen_.end()) return true;
  if (seen_.size() - level.first_seen == kScannedNames) return !level.more_seen.insert(name).second;
  seen_.push_back(name);
  return false;
}

bool JsonReader::next_element(size_t index) {
  Level& level = levels_.back();
  level.index = index;
  return next_item(level, ']', "expected ',' or ']'");
}

std::string JsonReader::string() {
  expect(Type::string);
  size_t start = cursor_.offset();
  bool escaped;
  check(cursor_.skip_string(escaped));
  std::string_view quoted = cursor_.since(start);
  return escaped ? unescape_json(quoted) : std::string(quoted.substr(1, quoted.size() - 2));
}

bool JsonReader::boolean() {
  expect(Type::boolean);
  bool value = cursor_.peek() == 't';
  check(cursor_.skip_word(value ? "true" : "false"));
  return value;
}

int64_t JsonReader::integer() {
  if (Type found = peek(); found != Type::number) fail_type("an integer", found);
  size_t start = cursor_.offset();
  check(cursor_.skip_number());
  std::string_view digits = cursor_.since(start);
  int64_t value = 0;
  auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (end != digits.data() + digits.size())
    fail(Errc::invalid, fmt::format("expected an integer, found {}", shown(digits)));
  if (code != std::errc()) fail(Errc::invalid, shown(digits) + " is too large for an integer");
  return value;
}

double JsonReader::number() {
  expect(Type::number);
  size_t start = cursor_.offset();
  check(cursor_.skip_number());
  return json_number_value(cursor_.since(start)).value();
}

bool JsonReader::null_or_skip_null() {
  if (peek() != Type::null) return false;
  check(cursor_.skip_word("null"));
  return true;
}

std::string_view JsonReader::raw() {
  cursor_.skip_space();
  size_t start = cursor_.offset();
  check(cursor_.skip_value(kJsonDepthMax));
  return cursor_.since(start);
}

void JsonReader::end() {
  check(cursor_.skip_end());
}

std::string JsonReader::path() const {
  std::string path;
  for (const Level& level : levels_) {
    if (!level.started) continue;
    if (!level.is_object)
      path += fmt::format("[{}]", level.index);
    else
      path += (path.empty() ? "" : ".") + shown(level.name);
  }
  return path;
}

void JsonReader::fail(Errc code, const std::string& message) const {
  if (auto checked = check_json(cursor_.text(), kJsonDocumentDepthMax); !checked)
    throw checked.error();
  std::string where = path();
  Error error(code, where.empty() ? message : where + ": " + message);
  throw error.at(where);
}

void JsonReader::fail_syntax() const {
  throw cursor_.error();
}

void JsonReader::fail_type(std::string_view wanted, Type found) const {
  fail(Errc::invalid, fmt::format("expected {}, found {}", wanted, words_for(found)));
}

TextPlace place_of(std::string_view text, size_t offset) {
  std::string_view before = text.substr(0, offset);
  auto line = static_cast<size_t>(std::count(before.begin(), before.end(), '\n')) + 1;
  return {line, before.size() - (before.rfind('\n') + 1) + 1};
}

}  // namespace opscore
