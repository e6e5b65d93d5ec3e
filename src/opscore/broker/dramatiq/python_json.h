#pragma once
// JSON as Python's json module has it, which is what Dramatiq writes and reads:
//
//   * NaN, Infinity and -Infinity are numbers, and so is 1e400; integers have any size;
//   * \ud800 may stand alone; what is not ASCII is written as \uXXXX, in lower case;
//   * a name may be repeated: the last value wins, at the place of the first.
//
// Numbers stay the text that they were, so nothing is lost on the way through. A string outside of
// JSON is UTF-8 in which a lone surrogate is three bytes (WTF-8): every string of Python has
// exactly one such form. Pure; safe for concurrent use.

#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "opscore/base/error.h"

namespace opscore {

// Python gives up at about a thousand levels, and refuses integers with more digits than these.
inline constexpr size_t kPythonDepthMax = 500;
inline constexpr size_t kPythonDigitsMax = 4300;

// Reads `text` as json.loads() does and answers it as json.dumps(separators=(",", ":")) writes it:
// *compact* text. Errc::malformed says where and why.
std::expected<std::string, Error> compact_python(std::string_view text);

// A string of Python as JSON, with its quotes; and back, from compact text.
std::string quote_python(std::string_view text);
std::string unquote_python(std::string_view quoted);

// An object's names and the compact text of their values, in order. No name is repeated.
class PythonMembers {
 public:
  struct Member {
    std::string name;
    std::string value;
    bool operator==(const Member&) const = default;
  };

  // Of an object or array in compact text; what is in them stays text.
  static PythonMembers of_object(std::string_view compact);
  static std::vector<std::string_view> of_array(std::string_view compact);

  // Null when there is none.
  const std::string* find(std::string_view name) const;
  // In the place that the name has, else at the end, as a dict of Python does it.
  void set(std::string_view name, std::string value);
  void erase(std::string_view name);
  std::string encode() const;
  bool operator==(const PythonMembers&) const = default;

  std::vector<Member> members;
};

// Where the string or the value at `at` of compact text ends.
size_t python_string_end(std::string_view compact, size_t at);
size_t python_value_end(std::string_view compact, size_t at);

}  // namespace opscore
