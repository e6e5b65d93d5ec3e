#pragma once
// What is printed for people: tables that fit a terminal and are plain in a pipe, ages, colours.
// Pure, but for look_at_terminal().

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "opscore/base/time.h"

namespace opscore {

struct Screen {
  bool terminal = false;
  bool moves = false;  // what was printed can be printed over: not TERM=dumb
  bool colour = false;
  size_t width = 80;
  size_t height = 24;
};
// Of stdout, or of another open file, such as stderr. NO_COLOR (not empty) and TERM=dumb mean no
// colours; COLUMNS wins over the terminal's own width.
Screen look_at_terminal(const std::map<std::string, std::string>& environment, int fd = 1);

class Table {
 public:
  explicit Table(std::vector<std::string> header) : rows_{std::move(header)} {}
  void add(std::vector<std::string> row);  // as many cells as the header
  // On a terminal the widest columns give way, marked by an ellipsis; otherwise one line per row,
  // cells separated by tabs.
  std::string text(const Screen& screen) const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

// The state in its colour, for a screen that has them.
std::string coloured(const Screen& screen, std::string_view state, std::string_view text);

// "12s", "5m", "3h", "2d": one unit, rounded down.
std::string short_age(Duration age);
// What is printed of text from elsewhere on a terminal: without control characters that would
// steer it, but for line breaks and tabs.
std::string printable(const Screen& screen, std::string_view text);

}  // namespace opscore
