#include "opscore/base/json_cursor.h"

#include <fmt/format.h>

#include <algorithm>
#include <bitset>
#include <charconv>
#include <cmath>
#include <cstring>

#include "opscore/base/json_reader.h"
#include "opscore/base/utf8.h"

namespace opscore {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// The decimal place of the first digit that counts: 3 for 123.4, -1 for 0.05.
int64_t magnitude(std::string_view number) {
  size_t mark = std::min(number.find_first_of("eE"), number.size());
  std::string_view mantissa = number.substr(0, mark);
  int64_t exponent = 0;
  if (mark < number.size()) {
    size_t sign = number.find_first_not_of('+', mark + 1);
    auto read = std::from_chars(number.data() + sign, number.data() + number.size(), exponent);
    if (read.ec != std::errc()) exponent = number[sign] == '-' ? -(1LL << 60) : 1LL << 60;
  }
  auto point = static_cast<int64_t>(std::min(mantissa.find('.'), mantissa.size()));
  return exponent + point - static_cast<int64_t>(mantissa.find_first_of("123456789"));
}

}  // namespace

int hex4(const char* at, const char* end) {
  if (end - at < 4) return -1;
  int value = 0;
  for (int i = 0; i < 4; ++i) {
    char c = at[i];
    int digit = is_digit(c)            ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
    if (digit < 0) return -1;
    value = value << 4 | digit;
  }
  return value;
}

const char* skip_plain(const char* at, const char* end) {
  // Eight bytes at a time: each test leaves the top bit of every byte that is not plain.
  constexpr uint64_t kOnes = 0x0101010101010101, kTops = kOnes * 0x80;
  auto has_zero = [](uint64_t word) { return (word - kOnes) & ~word & kTops; };
  for (; end - at >= 8; at += 8) {
    uint64_t word;
    std::memcpy(&word, at, 8);
    uint64_t control = (word - kOnes * 0x20) & ~word & kTops;
    if (has_zero(word ^ kOnes * '"') | has_zero(word ^ kOnes * '\\') | control | (word & kTops))
      break;
  }
  while (at != end && static_cast<unsigned char>(*at) >= 0x20 &&
         static_cast<unsigned char>(*at) < 0x80 && *at != '"' && *at != '\\')
    ++at;
  return at;
}

bool JsonCursor::skip_value(int depth_max) {
  std::bitset<kJsonDocumentDepthMax> is_object;  // of the open levels
  OPSCORE_ASSERT(depth_max <= kJsonDocumentDepthMax, "JSON deeper than any limit");
  int depth = 0;
  bool escaped;
  for (;;) {
    skip_space();
    char opener = peek();
    if (opener == '{' || opener == '[') {
      if (depth == depth_max)
        return fail(depth_max == kJsonDepthMax
                        ? "too many levels of nesting; at most 128 are read"
                        : "too many levels of nesting; at most 256 are read");
      is_object[static_cast<size_t>(depth++)] = opener == '{';
      ++at_;
      skip_space();
      bool empty = peek() == (opener == '{' ? '}' : ']');
      if (!empty) {
        if (opener == '{' && !skip_name(escaped)) return false;
        continue;
      }
    } else if (!skip_scalar()) {
      return false;
    }
    // A value has ended, or an empty level is about to: close what closes here.
    for (;; ++at_, --depth) {
      if (depth == 0) return true;
      skip_space();
      bool object = is_object[static_cast<size_t>(depth - 1)];
      if (peek() == (object ? '}' : ']')) continue;
      if (peek() != ',') return fail(object ? "expected ',' or '}'" : "expected ',' or ']'");
      ++at_;
      skip_space();
      if (object && !skip_name(escaped)) return false;
      break;
    }
  }
}

bool JsonCursor::skip_scalar() {
  bool escaped;
  switch (peek()) {
    case '"':
      return skip_string(escaped);
    case 't':
      return skip_word("true");
    case 'f':
      return skip_word("false");
    case 'n':
      return skip_word("null");
    default:
      if (peek() == '-' || is_digit(peek())) return skip_number();
      return fail("expected a value");
  }
}

bool JsonCursor::skip_name(bool& escaped) {
  if (peek() != '"') return fail("expected a member's name in double quotes");
  if (!skip_string(escaped)) return false;
  skip_space();
  if (peek() != ':') return fail("expected ':' after the member's name");
  ++at_;
  return true;
}

bool JsonCursor::skip_string(bool& escaped) {
  escaped = false;
  ++at_;  // the quote
  for (;;) {
    at_ = skip_plain(at_, end_);
    if (at_ == end_) return fail("expected '\"' at the end of the string");
    if (*at_ == '"') return ++at_, true;
    if (*at_ == '\\') {
      escaped = true;
      if (!skip_escape()) return false;
    } else if (static_cast<unsigned char>(*at_) < 0x20) {
      return fail("control characters in a string must be escaped");
    } else {
      Utf8Step step = step_utf8(at_, end_);
      if (!step.valid) return fail("the string is not UTF-8");
      at_ += step.size;
    }
  }
}

bool JsonCursor::skip_escape() {
  if (end_ - at_ < 2 || std::string_view("\"\\/bfnrtu").find(at_[1]) == std::string_view::npos)
    return fail("expected one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX as an escape");
  if (at_[1] != 'u') return at_ += 2, true;
  int unit = hex4(at_ + 2, end_);
  if (unit < 0) return fail("expected four hexadecimal digits after \\u");
  if (is_low_surrogate(unit)) return fail("\\u escape of half a surrogate pair");
  if (is_high_surrogate(unit)) {
    bool paired = end_ - at_ >= 12 && at_[6] == '\\' && at_[7] == 'u' &&
                  is_low_surrogate(hex4(at_ + 8, end_));
    if (!paired) return fail("\\u escape of half a surrogate pair");
    at_ += 6;
  }
  at_ += 6;
  return true;
}

bool JsonCursor::skip_number() {
  const char* start = at_;
  auto skip_digits = [this] {
    const char* first = at_;
    while (at_ != end_ && is_digit(*at_)) ++at_;
    return at_ - first;
  };
  if (peek() == '-') ++at_;
  if (peek() == '0')
    ++at_;
  else if (skip_digits() == 0)
    return fail("expected a digit");
  if (is_digit(peek())) return fail("a number must not start with 0");
  if (peek() == '.') {
    ++at_;
    if (skip_digits() == 0) return fail("expected a digit after the decimal point");
  }
  long exponent_digits = 0;
  if (peek() == 'e' || peek() == 'E') {
    ++at_;
    if (peek() == '+' || peek() == '-') ++at_;
    exponent_digits = skip_digits();
    if (exponent_digits == 0) return fail("expected a digit in the exponent");
  }
  // Nobody who reads the payload later should get an infinity. Short ones cannot be one.
  if (exponent_digits <= 2 && at_ - start <= 200) return true;
  if (json_number_value({start, static_cast<size_t>(at_ - start)})) return true;
  at_ = start;
  return fail("the number is too large for a double");
}

bool JsonCursor::skip_word(std::string_view word) {
  if (!std::string_view(at_, static_cast<size_t>(end_ - at_)).starts_with(word))
    return fail("expected a value");
  at_ += word.size();
  return true;
}

bool JsonCursor::skip_end() {
  skip_space();
  return at_end() || fail("expected the end of the text");
}

Error JsonCursor::error() const {
  auto [line, column] = place_of(text(), offset());
  std::string found;
  if (std::string_view(problem_).starts_with("expected")) {
    auto byte = static_cast<unsigned char>(peek());
    found = at_end()                       ? ", found the end of the text"
            : byte >= 0x20 && byte <= 0x7e ? fmt::format(", found '{}'", peek())
                                           : fmt::format(", found byte 0x{:02x}", byte);
  }
  return Error(Errc::malformed, fmt::format("malformed JSON at line {}, column {}: {}{}", line,
                                            column, problem_, found));
}

std::expected<void, Error> check_json(std::string_view text, int depth_max) {
  JsonCursor cursor(text);
  if (cursor.skip_value(depth_max) && cursor.skip_end()) return {};
  return std::unexpected(cursor.error());
}

std::optional<double> json_number_value(std::string_view number) {
  double value = 0;
  auto read = std::from_chars(number.data(), number.data() + number.size(), value);
  if (read.ec == std::errc::result_out_of_range) {  // which says nothing of the direction
    if (magnitude(number) > 0) return std::nullopt;
    return 0.0;
  }
  if (!std::isfinite(value)) return std::nullopt;
  return value;
}

std::string unescape_json(std::string_view quoted) {
  std::string out;
  out.reserve(quoted.size());
  const char* at = quoted.data() + 1;
  const char* end = quoted.data() + quoted.size() - 1;
  while (at != end) {
    if (*at != '\\') {
      const char* escape = std::find(at, end, '\\');
      out.append(at, escape);
      at = escape;
      continue;
    }
    char kind = at[1];
    at += 2;
    switch (kind) {
      case 'b':
        out += '\b';
        break;
      case 'f':
        out += '\f';
        break;
      case 'n':
        out += '\n';
        break;
      case 'r':
        out += '\r';
        break;
      case 't':
        out += '\t';
        break;
      case 'u': {
        int unit = hex4(at, end);
        at += 4;
        auto point = static_cast<unsigned>(unit);
        if (is_high_surrogate(unit)) {
          point = join_surrogates(unit, hex4(at + 2, end));
          at += 6;
        }
        append_utf8(out, point);
        break;
      }
      default:
        out += kind;  // quote, backslash, slash
    }
  }
  return out;
}

}  // namespace opscore
