#pragma once
// The grammar of JSON under check_json and JsonReader: walks text and builds nothing. It does not
// throw: a step that answers false has left problem() and stands on the offending byte. Internal to
// base. Not thread-safe; the text must outlive it.

#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "opscore/base/error.h"

namespace opscore {

// Of one payload.
inline constexpr int kJsonDepthMax = 128;
// Of a document of ours that embeds payloads.
inline constexpr int kJsonDocumentDepthMax = 2 * kJsonDepthMax;

class JsonCursor {
 public:
  explicit JsonCursor(std::string_view text)
      : begin_(text.data()), at_(begin_), end_(begin_ + text.size()) {}

  // The byte it stands on; 0 at the end, which starts nothing in JSON.
  char peek() const { return at_ == end_ ? '\0' : *at_; }
  bool at_end() const { return at_ == end_; }
  size_t offset() const { return static_cast<size_t>(at_ - begin_); }
  std::string_view text() const { return {begin_, static_cast<size_t>(end_ - begin_)}; }
  std::string_view since(size_t offset) const { return {begin_ + offset, this->offset() - offset}; }

  void skip_space() {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\t' || *at_ == '\r')) ++at_;
  }
  void skip_byte() { ++at_; }
  // A value and what is in it, at most `depth_max` levels deep.
  bool skip_value(int depth_max);
  // A string with its quotes; `escaped` says whether it has escapes.
  bool skip_string(bool& escaped);
  bool skip_number();
  bool skip_word(std::string_view word);
  // A member's name and its colon.
  bool skip_name(bool& escaped);
  // Only white space up to the end.
  bool skip_end();

  bool fail(const char* problem) {
    problem_ = problem;
    return false;
  }
  // "malformed JSON at line 3, column 7: expected ':' after the name, found 'x'"
  Error error() const;

 private:
  bool skip_escape();
  bool skip_scalar();

  const char* begin_;
  const char* at_;
  const char* end_;
  const char* problem_ = "";
};

// Past the bytes that a JSON string may hold as they are: ASCII but for controls, quote and
// backslash.
const char* skip_plain(const char* at, const char* end);

// check_json with another bound.
std::expected<void, Error> check_json(std::string_view text, int depth_max);

// The value of the four hexadecimal digits at `at`; -1 when they are not four or not digits.
int hex4(const char* at, const char* end);

// The value of a valid JSON number; nothing when it is beyond a double.
std::optional<double> json_number_value(std::string_view number);

// The contents of a valid JSON string (quotes included in `quoted`), escapes resolved.
std::string unescape_json(std::string_view quoted);

}  // namespace opscore
