#pragma once
// A pull reader over JSON text: validates strictly while it walks, and hands out slices of the
// original bytes, so that a payload is moved and never re-encoded. Grammar: RFC 8259; bounds: 128
// levels that are read, and 128 more inside each raw() value, so that the same payload is accepted
// alone and in a batch. A repeated name is refused in objects that are read with object(), not
// inside raw() values.
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
// with field(), and a message that begins with it, when it is JSON of another type. `malformed`
// wins: it is also thrown in place of `invalid` when the text turns out not to be JSON further on.
// After a throw the reader is of no further use. Not thread-safe; the text must outlive the reader
// and what it handed out.

#include <cstdint>
#include <forward_list>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "opscore/base/error.h"
#include "opscore/base/json_cursor.h"

namespace opscore {

class JsonReader {
 public:
  enum class Type { object, array, string, number, boolean, null };

  explicit JsonReader(std::string_view text) : cursor_(text) {}
  JsonReader(const JsonReader&) = delete;

  Type peek();
  // Calls `member(name)` for each member; it must consume the value. `name` lives until the object
  // ends. A repeated name is malformed.
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
  int64_t integer();  // without fraction and exponent
  double number();
  bool null_or_skip_null();  // consumes a null and says whether there was one
  // The value's exact bytes, validated, without surrounding white space.
  std::string_view raw();
  // Nothing but white space may follow.
  void end();

  // The place for messages: "tasks[3].priority".
  std::string path() const;
  [[noreturn]] void fail(Errc code, const std::string& message) const;
  size_t offset() const { return cursor_.offset(); }

 private:
  struct Level {
    std::string_view name;  // of the member being read
    size_t index = 0;       // of the element being read
    size_t first_seen = 0;  // where this object's names start in seen_
    bool is_object = false;
    bool started = false;                  // a member or element has been read
    std::set<std::string_view> more_seen;  // names beyond those in seen_: never quadratic
  };
  void begin_object();
  bool next_member(std::string_view& name);
  void begin_array();
  bool next_element(size_t index);
  void begin_level(Type type);
  // Steps over a separator to the next item, or over the closing bracket.
  bool next_item(Level& level, char closer, const char* problem);
  bool is_repeated(Level& level, std::string_view name);
  void expect(Type wanted);
  void check(bool step) const {
    if (!step) fail_syntax();
  }
  [[noreturn]] void fail_syntax() const;
  [[noreturn]] void fail_type(std::string_view wanted, Type found) const;

  JsonCursor cursor_;
  std::vector<Level> levels_;
  std::vector<std::string_view> seen_;        // the first names of all open objects
  std::forward_list<std::string> unescaped_;  // back names that had escapes
};

// Line and column (from 1, column in bytes) of an offset.
struct TextPlace {
  size_t line, column;
};
TextPlace place_of(std::string_view text, size_t offset);

}  // namespace opscore
