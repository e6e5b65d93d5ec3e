#include "opscore/process/run_program.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <system_error>

namespace opscore {
namespace {

constexpr size_t kReadBytes = 64 * 1024;
// What can still be in a pipe when its writers are dead, with room for enlarged pipes.
constexpr size_t kLeftoverBytes = 1 << 20;

class Attendant {
 public:
  Attendant(Reaper& reaper, const ProgramRun& run)
      : run_(run), program_(reaper.start(run.child, run.mark)), wake_(::eventfd(0, EFD_CLOEXEC)) {
    if (!wake_.is_open())
      throw Error(Errc::unavailable,
                  fmt::format("make an eventfd: {}", std::generic_category().message(errno)));
  }

  ProgramEnd attend() {
    std::stop_callback on_stop(run_.stop, [this] {
      uint64_t one = 1;
      [[maybe_unused]] ssize_t written = ::write(wake_.get(), &one, sizeof one);
    });
    while (true) {
      wait();
      // Looked at before reading: what it wrote before it ended is then in the pipes.
      bool ended = program_->poll().has_value();
      if (ended) program_->end();
      size_t most = ended ? kLeftoverBytes : kReadBytes;
      if (out_open_) out_open_ = drain_output(most);
      if (err_open_) err_open_ = drain(program_->err(), most, run_.on_err);
      if (ended) break;
      maybe_stop();
    }
    end_.status = *program_->poll();
    return std::move(end_);
  }

 private:
  enum class Phase { running, asked, killed };

  void wait() {
    std::array<pollfd, 4> watched{{{program_->handle(), POLLIN, 0},
                                   {phase_ == Phase::running ? wake_.get() : -1, POLLIN, 0},
                                   {out_open_ ? program_->out() : -1, POLLIN, 0},
                                   {err_open_ ? program_->err() : -1, POLLIN, 0}}};
    Deadline next = phase_ == Phase::running ? run_.deadline
                    : phase_ == Phase::asked ? patience_
                                             : Deadline::never();
    // Rounded up, so that it is over when we wake.
    auto left = std::min<Duration>(next.left() + Duration(1), std::chrono::hours(1));
    ::poll(watched.data(), watched.size(), next.passed() ? 0 : static_cast<int>(left.count()));
  }

  void maybe_stop() {
    if (phase_ == Phase::running && (run_.stop.stop_requested() || run_.deadline.passed())) {
      end_.why = run_.deadline.passed() ? ProgramEnd::Why::timed_out : ProgramEnd::Why::stopped;
      program_->signal_group(SIGTERM);
      program_->signal_group(SIGCONT);  // a stopped process handles no signal
      patience_ = Deadline::after(run_.stop_grace);
      phase_ = Phase::asked;
    } else if (phase_ == Phase::asked && patience_.passed()) {
      kill();
    }
  }

  void kill() {
    program_->kill();
    phase_ = Phase::killed;
  }

  bool drain_output(size_t most) {
    return drain(program_->out(), most, [this](std::string_view bytes) {
      size_t room = run_.output_bytes_max - end_.output.size();
      end_.output.append(bytes.substr(0, room));
      if (bytes.size() <= room) return;
      if (end_.why == ProgramEnd::Why::exited) end_.why = ProgramEnd::Why::output_too_large;
      if (phase_ != Phase::killed) kill();
    });
  }

  // Reads what is there, about `most` bytes. False at the end of the stream.
  static bool drain(int fd, size_t most, const std::function<void(std::string_view)>& take) {
    std::array<char, kReadBytes> buffer;
    for (size_t done = 0; done < most;) {
      ssize_t got = ::read(fd, buffer.data(), buffer.size());
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return errno == EAGAIN;
      if (got == 0) return false;
      take({buffer.data(), static_cast<size_t>(got)});
      done += static_cast<size_t>(got);
    }
    return true;
  }

  const ProgramRun& run_;
  std::unique_ptr<Program> program_;
  FileDescriptor wake_;
  ProgramEnd end_;
  Phase phase_ = Phase::running;
  Deadline patience_ = Deadline::never();
  bool out_open_ = true;
  bool err_open_ = true;
};

}  // namespace

ProgramEnd run_program(Reaper& reaper, const ProgramRun& run) {
  return Attendant(reaper, run).attend();
}

}  // namespace opscore
