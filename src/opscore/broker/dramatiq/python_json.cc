#include "opscore/broker/dramatiq/python_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "opscore/base/json_cursor.h"
#include "opscore/base/json_reader.h"
#include "opscore/base/utf8.h"

namespace opscore {
namespace {

// Up to here a linear search for repeated names is faster than any index.
constexpr size_t kScannedNames = 32;
constexpr unsigned kReplacement = 0xfffd;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

void append_unit(std::string& out, unsigned unit) {
  fmt::format_to(std::back_inserter(out), "\\u{:04x}", unit);
}

// One character as json.dumps() escapes it.
void append_escaped(std::string& out, unsigned point) {
  switch (point) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\b':
      out += "\\b";
      return;
    case '\f':
      out += "\\f";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      break;
  }
  if (point >= 0x20 && point < 0x7f) {
    out += static_cast<char>(point);
  } else if (point < 0x10000) {
    append_unit(out, point);
  } else {
    append_unit(out, 0xd800 + ((point - 0x10000) >> 10));
    append_unit(out, 0xdc00 + ((point - 0x10000) & 0x3ff));
  }
}

// What JSON takes as it is; Python escapes one character of it.
void append_plain(std::string& out, const char* at, const char* end) {
  for (;;) {
    const char* part = std::find(at, end, '\x7f');
    out.append(at, part);
    if (part == end) return;
    append_escaped(out, static_cast<unsigned char>(*part));
    at = part + 1;
  }
}

// A lone surrogate, as three bytes.
bool is_surrogate(const char* at, const char* end) {
  auto byte = [at](int i) { return static_cast<unsigned char>(at[i]); };
  return end - at >= 3 && byte(0) == 0xed && byte(1) >= 0xa0 && byte(1) < 0xc0 && byte(2) >> 6 == 2;
}

// The code point of the valid bytes [at, at + size).
unsigned point_at(const char* at, int size) {
  auto byte = [at](int i) { return static_cast<unsigned>(static_cast<unsigned char>(at[i])); };
  if (size == 1) return byte(0);
  unsigned point = byte(0) & (0x7fu >> size);
  for (int i = 1; i < size; ++i) point = point << 6 | (byte(i) & 0x3f);
  return point;
}

// Walks text and writes it compact, level by level without recursion.
class Compactor {
 public:
  explicit Compactor(std::string_view text)
      : text_(text), at_(text.data()), end_(text.data() + text.size()) {
    out_.reserve(text.size());
  }

  std::expected<std::string, Error> run() {
    if (!value() || !at_end()) return std::unexpected(error());
    return std::move(out_);
  }

 private:
  struct Written {  // a member, as offsets into out_; it ends where the next one begins
    size_t begin, name_end;
  };
  struct Level {
    bool is_object = false;
    bool repeats = false;
    size_t begin = 0;  // behind its bracket in out_
    std::vector<Written> members;
    std::set<std::string, std::less<>> more_names;  // beyond those that are scanned
  };

  bool fail(const char* problem) {
    problem_ = problem;
    return false;
  }
  Error error() const {
    auto [line, column] = place_of(text_, static_cast<size_t>(at_ - text_.data()));
    return Error(Errc::malformed,
                 fmt::format("not JSON at line {}, column {}: {}", line, column, problem_));
  }
  char peek() const { return at_ == end_ ? '\0' : *at_; }
  void skip_space() {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\t' || *at_ == '\r')) ++at_;
  }
  bool at_end() {
    skip_space();
    return at_ == end_ || fail("expected the end of the text");
  }

  bool value() {
    for (;;) {
      skip_space();
      if (peek() == '{' || peek() == '[') {
        if (!open()) return false;
        if (!closes()) {
          if (levels_.back().is_object && !name()) return false;
          continue;
        }
      } else if (!scalar()) {
        return false;
      }
      switch (next()) {
        case Next::item:
          continue;
        case Next::done:
          return true;
        case Next::wrong:
          return false;
      }
    }
  }
  bool open() {
    if (levels_.size() == kPythonDepthMax) return fail("too many levels of nesting");
    out_ += *at_;
    Level& level = levels_.emplace_back();
    level.is_object = *at_++ == '{';
    level.begin = out_.size();
    skip_space();
    return true;
  }
  bool closes() const { return peek() == (levels_.back().is_object ? '}' : ']'); }

  // After a value, or before the end of an empty level: closes what closes here.
  enum class Next { item, done, wrong };
  Next next() {
    for (;;) {
      if (levels_.empty()) return Next::done;
      skip_space();
      if (!closes()) break;
      close();
    }
    if (peek() != ',') {
      fail(levels_.back().is_object ? "expected ',' or '}'" : "expected ',' or ']'");
      return Next::wrong;
    }
    ++at_;
    out_ += ',';
    skip_space();
    return !levels_.back().is_object || name() ? Next::item : Next::wrong;
  }
  void close() {
    if (levels_.back().repeats) drop_repeated(levels_.back());
    out_ += *at_++;
    levels_.pop_back();
  }

  bool name() {
    if (peek() != '"') return fail("expected a member's name in double quotes");
    size_t begin = out_.size();
    if (!string()) return false;
    Level& level = levels_.back();
    note(level, {begin, out_.size()});
    skip_space();
    if (peek() != ':') return fail("expected ':' after the member's name");
    ++at_;
    out_ += ':';
    return true;
  }
  std::string_view name_of(const Written& member) const {
    return std::string_view(out_).substr(member.begin, member.name_end - member.begin);
  }
  void note(Level& level, Written member) {
    if (level.members.size() < kScannedNames) {
      level.repeats |= std::any_of(level.members.begin(), level.members.end(),
                                   [&](auto& m) { return name_of(m) == name_of(member); });
    } else {
      if (level.more_names.empty())
        for (const Written& known : level.members) level.more_names.emplace(name_of(known));
      level.repeats |= !level.more_names.emplace(name_of(member)).second;
    }
    level.members.push_back(member);
  }
  // Writes the level again with the last value of each name, at the place of the first.
  void drop_repeated(const Level& level) {
    std::string_view all(out_);
    std::map<std::string_view, size_t> place;
    std::vector<std::string_view> kept;
    for (size_t i = 0; i < level.members.size(); ++i) {
      const Written& member = level.members[i];
      size_t end = i + 1 < level.members.size() ? level.members[i + 1].begin - 1 : out_.size();
      std::string_view text = all.substr(member.begin, end - member.begin);
      auto [known, is_new] = place.emplace(name_of(member), kept.size());
      if (is_new)
        kept.push_back(text);
      else
        kept[known->second] = text;
    }
    std::string rewritten;
    for (std::string_view member : kept) {
      if (!rewritten.empty()) rewritten += ',';
      rewritten += member;
    }
    out_.replace(level.begin, std::string::npos, rewritten);
  }

  bool scalar() {
    switch (peek()) {
      case '"':
        return string();
      case 't':
        return word("true");
      case 'f':
        return word("false");
      case 'n':
        return word("null");
      case 'N':
        return word("NaN");
      case 'I':
        return word("Infinity");
      case '-':
        if (end_ - at_ > 1 && at_[1] == 'I') return word("-Infinity");
        return number();
      default:
        return is_digit(peek()) ? number() : fail("expected a value");
    }
  }
  bool word(std::string_view word) {
    if (!std::string_view(at_, end_).starts_with(word)) return fail("expected a value");
    at_ += word.size();
    out_ += word;
    return true;
  }
  size_t digits() {
    const char* first = at_;
    while (at_ != end_ && is_digit(*at_)) ++at_;
    return static_cast<size_t>(at_ - first);
  }
  bool number() {
    const char* start = at_;
    if (peek() == '-') ++at_;
    bool zero = peek() == '0';
    size_t whole = digits();
    if (whole == 0) return fail("expected a digit");
    if (zero && whole > 1) return fail("a number must not start with 0");
    bool integer = true;
    if (peek() == '.') {
      ++at_;
      integer = false;
      if (digits() == 0) return fail("expected a digit after the decimal point");
    }
    if (peek() == 'e' || peek() == 'E') {
      ++at_;
      integer = false;
      if (peek() == '+' || peek() == '-') ++at_;
      if (digits() == 0) return fail("expected a digit in the exponent");
    }
    if (integer && whole > kPythonDigitsMax) return fail("an integer with more than 4300 digits");
    out_.append(start, at_);
    return true;
  }

  bool string() {
    out_ += *at_++;
    for (;;) {
      const char* plain = skip_plain(at_, end_);
      append_plain(out_, at_, plain);
      at_ = plain;
      if (at_ == end_) return fail("expected '\"' at the end of the string");
      if (*at_ == '"') return out_ += *at_++, true;
      if (*at_ == '\\') {
        if (!escape()) return false;
      } else if (static_cast<unsigned char>(*at_) < 0x20) {
        return fail("control characters in a string must be escaped");
      } else {
        Utf8Step step = step_utf8(at_, end_);
        if (!step.valid) return fail("the text is not UTF-8");
        append_escaped(out_, point_at(at_, step.size));
        at_ += step.size;
      }
    }
  }
  bool escape() {
    static constexpr std::string_view kShort = "\"\\/bfnrt", kMeaning = "\"\\/\b\f\n\r\t";
    char kind = end_ - at_ > 1 ? at_[1] : '\0';
    if (kind == 'u') {
      int unit = hex4(at_ + 2, end_);
      if (unit < 0) return fail("expected four hexadecimal digits after \\u");
      append_escaped(out_, static_cast<unsigned>(unit));
      at_ += 6;
      return true;
    }
    size_t which = kShort.find(kind);
    if (kind == '\0' || which == kShort.npos)
      return fail("expected one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX as an escape");
    append_escaped(out_, static_cast<unsigned char>(kMeaning[which]));
    at_ += 2;
    return true;
  }

  const std::string_view text_;
  const char* at_;
  const char* end_;
  const char* problem_ = "";
  std::string out_;
  std::vector<Level> levels_;
};

}  // namespace

std::expected<std::string, Error> compact_python(std::string_view text) {
  return Compactor(text).run();
}

size_t python_string_end(std::string_view compact, size_t at) {
  for (++at; compact[at] != '"'; ++at)
    if (compact[at] == '\\') ++at;
  return at + 1;
}

size_t python_value_end(std::string_view compact, size_t at) {
  size_t depth = 0;
  for (; at < compact.size(); ++at) {
    char c = compact[at];
    if (c == '"')
      at = python_string_end(compact, at) - 1;
    else if (c == '{' || c == '[')
      ++depth;
    else if (depth == 0 && (c == ',' || c == '}' || c == ']'))
      return at;
    else if ((c == '}' || c == ']') && --depth == 0)
      return at + 1;
  }
  return at;
}

std::string quote_python(std::string_view text) {
  std::string out = "\"";
  const char* at = text.data();
  const char* end = at + text.size();
  while (at != end) {
    if (const char* plain = skip_plain(at, end); plain != at) {
      append_plain(out, at, plain);
      at = plain;
      continue;
    }
    Utf8Step step = step_utf8(at, end);
    if (!step.valid && is_surrogate(at, end)) step = {3, true};
    append_escaped(out, step.valid ? point_at(at, step.size) : kReplacement);
    at += step.size;
  }
  return out + '"';
}

std::string unquote_python(std::string_view quoted) {
  std::string out;
  const char* at = quoted.data() + 1;
  const char* end = quoted.data() + quoted.size() - 1;
  while (at < end) {
    if (*at != '\\') {
      const char* escape = std::find(at, end, '\\');
      out.append(at, escape);
      at = escape;
      continue;
    }
    char kind = at[1];
    at += 2;
    if (kind != 'u') {
      static constexpr std::string_view kShort = "bfnrt", kMeaning = "\b\f\n\r\t";
      size_t which = kShort.find(kind);
      out += which == kShort.npos ? kind : kMeaning[which];
      continue;
    }
    int unit = hex4(at, end);
    auto point = static_cast<unsigned>(unit);
    at += 4;
    if (is_high_surrogate(unit) && end - at >= 6 && at[0] == '\\' && at[1] == 'u')
      if (int low = hex4(at + 2, end); is_low_surrogate(low)) {
        point = join_surrogates(unit, low);
        at += 6;
      }
    append_utf8(out, point);
  }
  return out;
}

PythonMembers PythonMembers::of_object(std::string_view compact) {
  PythonMembers read;
  for (size_t at = 1; at + 1 < compact.size();) {
    size_t colon = python_string_end(compact, at);
    size_t end = python_value_end(compact, colon + 1);
    read.members.push_back({unquote_python(compact.substr(at, colon - at)),
                            std::string(compact.substr(colon + 1, end - colon - 1))});
    at = end + 1;
  }
  return read;
}

std::vector<std::string_view> PythonMembers::of_array(std::string_view compact) {
  std::vector<std::string_view> items;
  for (size_t at = 1; at + 1 < compact.size();) {
    size_t end = python_value_end(compact, at);
    items.push_back(compact.substr(at, end - at));
    at = end + 1;
  }
  return items;
}

const std::string* PythonMembers::find(std::string_view name) const {
  for (const Member& member : members)
    if (member.name == name) return &member.value;
  return nullptr;
}

void PythonMembers::set(std::string_view name, std::string value) {
  for (Member& member : members)
    if (member.name == name) {
      member.value = std::move(value);
      return;
    }
  members.push_back({std::string(name), std::move(value)});
}

void PythonMembers::erase(std::string_view name) {
  std::erase_if(members, [&](const Member& member) { return member.name == name; });
}

std::string PythonMembers::encode() const {
  std::string out = "{";
  for (const Member& member : members) {
    if (out.size() > 1) out += ',';
    out += quote_python(member.name) + ':' + member.value;
  }
  return out + '}';
}

}  // namespace opscore
