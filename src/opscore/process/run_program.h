#pragma once
// One run of a program from start to end, on the calling thread: feeds it, collects its output,
// stops it when asked, and leaves nothing of it behind.

#include <functional>
#include <stop_token>
#include <string>
#include <string_view>

#include "opscore/base/time.h"
#include "opscore/process/reaper.h"

namespace opscore {

struct ProgramRun {
  ChildOptions child;
  std::string mark;                              // "<task id>#<attempt>"
  size_t output_bytes_max = 0;                   // of stdout; one byte more and it is killed
  std::function<void(std::string_view)> on_err;  // what arrives on stderr, in pieces
  std::stop_token stop;
  Deadline deadline = Deadline::never();
  Duration stop_grace{5000};  // between SIGTERM and SIGKILL
};

struct ProgramEnd {
  enum class Why : uint8_t {
    exited,            // by itself, or of a signal that was not ours
    stopped,           // after the stop token was set
    timed_out,         // after the deadline passed
    output_too_large,  // killed for it
  } why = Why::exited;
  ExitStatus status;
  std::string output;  // stdout, at most output_bytes_max
};

// Returns when the main process has ended and what it left in its group or let escape was killed.
// Output that had been written by then is complete. Throws Error{unavailable} when the program
// cannot be started, and what `on_err` throws (then the program is killed).
ProgramEnd run_program(Reaper& reaper, const ProgramRun& run);

}  // namespace opscore
