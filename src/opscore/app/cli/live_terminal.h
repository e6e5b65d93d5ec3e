#pragma once
// A terminal whose picture is drawn over and over, and that is given back as it was: on its own
// screen, without cursor and echo, until the object ends.

#include <signal.h>
#include <termios.h>

#include <optional>
#include <string>
#include <vector>

#include "opscore/base/time.h"
#include "opscore/process/file_descriptor.h"

namespace opscore {

// One thread. The signals that it reacts to are blocked from its beginning on; threads begun later
// leave them to it.
class LiveTerminal {
 public:
  LiveTerminal();
  ~LiveTerminal();
  LiveTerminal(const LiveTerminal&) = delete;

  // The lines must fit the screen. Nothing blinks: each is written over the one before.
  void draw(const std::vector<std::string>& lines);

  enum class Event : uint8_t { none, resized, changed, leave };
  // Waits until something happens, at most until the deadline. `changed`: notify() was called.
  // `leave`: q or Ctrl-C, or the process was asked to end. Ctrl-Z stops the process in between,
  // with the terminal given back.
  Event wait(Deadline deadline);
  // From any thread.
  void notify();
  // The signal that asked to leave, for ending by it once the terminal is given back; none: a key.
  std::optional<int> signal() const { return signal_; }

 private:
  void enter();
  void give_back();
  Event on_signal();
  Event on_key();

  sigset_t blocked_before_{};
  std::optional<termios> keyboard_;  // as it was; nothing when stdin is no terminal
  FileDescriptor signals_;
  FileDescriptor changed_;
  std::optional<int> signal_;
};

}  // namespace opscore
