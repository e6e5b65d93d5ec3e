#include "opscore/app/cli/live_terminal.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>

#include "opscore/base/error.h"

namespace opscore {
namespace {

// Another screen, no cursor, no wrapping; and back.
constexpr char kEnter[] = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
constexpr char kGiveBack[] = "\x1b[?7h\x1b[?25h\x1b[?1049l";

sigset_t watched_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH}) sigaddset(&set, signal);
  return set;
}

// A terminal that is gone shows nothing more; its SIGHUP ends the view.
void print(std::string_view text) {
  while (!text.empty()) {
    ssize_t written = ::write(STDOUT_FILENO, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    text.remove_prefix(static_cast<size_t>(written));
  }
}

}  // namespace

LiveTerminal::LiveTerminal() {
  sigset_t signals = watched_signals();
  ::pthread_sigmask(SIG_BLOCK, &signals, &blocked_before_);
  signals_ = FileDescriptor(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  changed_ = FileDescriptor(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (signals_.get() < 0 || changed_.get() < 0) {
    ::pthread_sigmask(SIG_SETMASK, &blocked_before_, nullptr);
    throw Error(Errc::unavailable, "open a live view: no file descriptors are left");
  }
  termios keyboard{};
  if (::tcgetattr(STDIN_FILENO, &keyboard) == 0) keyboard_ = keyboard;
  enter();
}

LiveTerminal::~LiveTerminal() {
  give_back();
  ::pthread_sigmask(SIG_SETMASK, &blocked_before_, nullptr);
}

void LiveTerminal::enter() {
  if (keyboard_) {
    termios quiet = *keyboard_;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO | ICANON);
    ::tcsetattr(STDIN_FILENO, TCSANOW, &quiet);
  }
  print(kEnter);
}

void LiveTerminal::give_back() {
  print(kGiveBack);
  // What was typed meanwhile was meant for the view.
  if (keyboard_) ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &*keyboard_);
}

void LiveTerminal::draw(const std::vector<std::string>& lines) {
  // In one write, which terminals that know 2026 show at once.
  std::string picture = "\x1b[?2026h\x1b[H";
  for (size_t i = 0; i < lines.size(); ++i)
    picture += fmt::format("{}{}\x1b[K", i == 0 ? "" : "\r\n", lines[i]);
  print(picture + "\x1b[J\x1b[?2026l");
}

LiveTerminal::Event LiveTerminal::wait(Deadline deadline) {
  pollfd polled[] = {{signals_.get(), POLLIN, 0},
                     {changed_.get(), POLLIN, 0},
                     {keyboard_ ? STDIN_FILENO : -1, POLLIN, 0}};
  auto left = std::min<int64_t>(deadline.left().count(), 3'600'000);
  if (::poll(polled, std::size(polled), static_cast<int>(left)) <= 0) return Event::none;
  if (polled[0].revents) return on_signal();
  if (polled[2].revents)
    if (Event event = on_key(); event != Event::none) return event;
  if (!polled[1].revents) return Event::none;
  eventfd_t count = 0;
  ::eventfd_read(changed_.get(), &count);
  return Event::changed;
}

void LiveTerminal::notify() {
  ::eventfd_write(changed_.get(), 1);
}

LiveTerminal::Event LiveTerminal::on_signal() {
  signalfd_siginfo info{};
  if (::read(signals_.get(), &info, sizeof info) != static_cast<ssize_t>(sizeof info))
    return Event::none;
  int signal = static_cast<int>(info.ssi_signo);
  if (signal == SIGWINCH) return Event::resized;
  if (signal != SIGTSTP) {
    signal_ = signal;
    return Event::leave;
  }
  give_back();
  ::raise(SIGSTOP);
  enter();  // somebody said `fg`
  return Event::resized;
}

LiveTerminal::Event LiveTerminal::on_key() {
  char key = 0;
  ssize_t got = ::read(STDIN_FILENO, &key, 1);
  return got <= 0 || key == 'q' ? Event::leave : Event::none;
}

}  // namespace opscore
