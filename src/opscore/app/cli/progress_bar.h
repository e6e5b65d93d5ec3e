#pragma once
// How far a long command is: one line that is rewritten on a terminal, a new line for each tenth
// in a pipe. Not thread-safe.

#include <iosfwd>
#include <string>

#include "opscore/app/cli/screen.h"

namespace opscore {

class ProgressBar {
 public:
  // `out` must outlive it; `screen.terminal` says what it is.
  ProgressBar(std::ostream& out, Screen screen) : out_(out), screen_(screen) {}
  // Ends the line.
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;

  // `part` from 0 to 1; `words` behind the bar.
  void show(double part, const std::string& words);
  // Takes the line off a terminal.
  void clear();

 private:
  std::ostream& out_;
  const Screen screen_;
  std::string shown_;
  int tenth_ = -1;
  std::string phase_;  // the words up to the first digit, in a pipe
};

// "12.3 MiB"
std::string short_bytes(int64_t bytes);

}  // namespace opscore
