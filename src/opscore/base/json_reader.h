#pragma once
// A pull reader over JSON text: validates strictly while it walks, and hands out slices of the
// original bytes, so that a payload is moved and never re-encoded. No allocation but for strings
// that contain escapes. Grammar: RFC 8259; bounds: depth 128.
//
//   JsonReader in(body);
//   in.object([&](std::string_view name) {
//     if (name == "task_type") type = in.string();
//     else if (name == "input_data") input = in.raw();
//     else in.fail(Errc::invalid, "unknown field");
//   });
//   in.end();
//
// Every method throws Error: `malformed` with line and column when the text is not JSON, `invalid`
// with field() when it is JSON of another type. Not thread-safe.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "opscore/base/error.h"

namespace opscore {

class JsonReader {
 public:
  enum class Type { object, array, string, number, boolean, null };

  explicit JsonReader(std::string_view text) : text_(text) {}

  Type peek();
  // Calls `member(name)` for each member; it must consume the value. `name` lives until the next
  // member. A repeated name is malformed.
  template <class F>
  void object(F&& member) {
    begin_object();
    std::string_view name;
    while (next_member(name)) member(name);
  }
  // Calls `element(index)` for each element; it must consume the value.
  template <class F>
  void array(F&& element) {
    begin_array();
    for (size_t index = 0; next_element(index); ++index) element(index);
  }
  std::string string();
  bool boolean();
  int64_t integer();
  double number();
  bool null_or_skip_null();  // consumes a null and says whether there was one
  // The value's exact bytes, validated, without surrounding white space.
  std::string_view raw();
  // Nothing but white space may follow.
  void end();

  // The place for messages: "tasks[3].priority".
  std::string path() const;
  [[noreturn]] void fail(Errc code, const std::string& message) const;
  size_t offset() const { return at_; }

 private:
  struct Level {
    std::string_view name;  // of the member being read
    size_t index = 0;       // of the element being read
    bool is_object = false;
    bool first = true;
    std::string unescaped;              // backs `name` when it had escapes
    std::vector<std::string> seen;      // names so far, to refuse repetitions
  };
  void begin_object();
  bool next_member(std::string_view& name);
  void begin_array();
  bool next_element(size_t index);
  void skip_space();
  void expect(char c);
  void skip_value(int depth);
  void skip_string();
  void skip_number();
  void skip_word(std::string_view word);
  [[noreturn]] void fail_syntax(const std::string& message) const;
  [[noreturn]] void fail_type(std::string_view wanted);

  std::string_view text_;
  size_t at_ = 0;
  std::vector<Level> levels_;
};

// Line and column (from 1, column in bytes) of an offset.
struct TextPlace {
  size_t line, column;
};
TextPlace place_of(std::string_view text, size_t offset);

}  // namespace opscore
