#include "opscore/process/crash_handler.h"

#include <execinfo.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <string_view>

namespace opscore {
namespace {

constexpr std::array kCrashSignals{SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS, SIGTRAP};
constexpr size_t kStackBytes = 64 * 1024;
constexpr size_t kGuardBytes = 4096;
constexpr int kFrames = 64;
constexpr unsigned kPrintSeconds = 2;

// Why static: a signal handler gets no argument of ours. Written once, by install_crash_handler.
std::atomic<CrashPage*> crash_page{nullptr};
// Threads print one after the other.
std::atomic_flag printing = ATOMIC_FLAG_INIT;

// A stack for the handlers of one thread.
class HandlerStack {
 public:
  HandlerStack() {
    // The lowest page stays out of reach, as below every stack.
    memory_ =
        ::mmap(nullptr, kGuardBytes + kStackBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory_ == MAP_FAILED) return;
    stack_t stack{};
    stack.ss_sp = static_cast<char*>(memory_) + kGuardBytes;
    stack.ss_size = kStackBytes;
    if (::mprotect(stack.ss_sp, kStackBytes, PROT_READ | PROT_WRITE) == 0)
      ::sigaltstack(&stack, nullptr);
  }
  ~HandlerStack() {
    if (memory_ == MAP_FAILED) return;
    stack_t none{};
    none.ss_flags = SS_DISABLE;
    ::sigaltstack(&none, nullptr);
    ::munmap(memory_, kGuardBytes + kStackBytes);
  }

 private:
  void* memory_;
};

thread_local int32_t crash_slot = CrashPage::kNoSlot;

// Everything below runs in signal handlers: system calls and memory that exists already.

// A line built without allocation.
class Line {
 public:
  Line& operator<<(std::string_view text) {
    for (char c : text)
      if (size_ < sizeof text_) text_[size_++] = c;
    return *this;
  }
  Line& operator<<(long number) {
    char digits[24];
    size_t at = sizeof digits;
    unsigned long rest =
        number < 0 ? -static_cast<unsigned long>(number) : static_cast<unsigned long>(number);
    do {
      digits[--at] = static_cast<char>('0' + rest % 10);
    } while ((rest /= 10) != 0);
    if (number < 0) digits[--at] = '-';
    return *this << std::string_view(digits + at, sizeof digits - at);
  }
  void print() const { [[maybe_unused]] ssize_t written = ::write(STDERR_FILENO, text_, size_); }

 private:
  char text_[256];
  size_t size_ = 0;
};

std::string_view name_of(int signal) {
  const char* name = ::sigabbrev_np(signal);
  return name != nullptr ? name : "?";
}

void print_stack() {
  void* frames[kFrames];
  int count = ::backtrace(frames, kFrames);
  ::backtrace_symbols_fd(frames, count, STDERR_FILENO);
}

void on_crash(int signal, siginfo_t* info, void*) {
  pid_t pid = ::getpid();
  // kill(2) by somebody else arrives at any thread: its slot is not to blame.
  bool outside = info->si_code <= 0 && info->si_pid != pid;
  int32_t slot = outside ? CrashPage::kOutside : crash_slot;
  if (CrashPage* page = crash_page.load()) page->blame(slot, signal);

  // Printing takes locks of the loader, which the crashed code may hold: then this ends us instead.
  std::signal(SIGALRM, SIG_DFL);
  sigset_t alarm;
  ::sigemptyset(&alarm);
  ::sigaddset(&alarm, SIGALRM);
  ::pthread_sigmask(SIG_UNBLOCK, &alarm, nullptr);
  ::alarm(kPrintSeconds);

  char thread[16] = {};
  ::prctl(PR_GET_NAME, thread);
  Line line;
  line << "opscore: worker " << pid << " crashed: SIG" << name_of(signal);
  if (outside) line << " sent by process " << info->si_pid;
  line << ", thread '" << std::string_view(thread) << "'";
  if (slot >= 0) line << ", slot " << slot;
  line << "\n";
  line.print();
  print_stack();

  std::signal(signal, SIG_DFL);
  // Pending until this handler returns; a fault would repeat itself, a sent signal would not.
  ::syscall(SYS_tgkill, pid, ::syscall(SYS_gettid), signal);
}

// Asks every thread for its stack. Reads /proc by system calls: opendir(3) allocates.
void signal_all_threads(int signal) {
  int folder = ::open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return;
  struct Entry {  // struct linux_dirent64 of getdents64(2)
    uint64_t inode;
    int64_t offset;
    uint16_t length;
    uint8_t type;
    char name[1];
  };
  alignas(Entry) char buffer[4096];
  long got;
  while ((got = ::syscall(SYS_getdents64, folder, buffer, sizeof buffer)) > 0) {
    for (long at = 0; at < got;) {
      auto* entry = reinterpret_cast<Entry*>(buffer + at);
      at += entry->length;
      long thread = 0;
      for (const char* c = entry->name; *c >= '0' && *c <= '9'; ++c)
        thread = thread * 10 + *c - '0';
      if (thread != 0) ::syscall(SYS_tgkill, ::getpid(), thread, signal);
    }
  }
  ::close(folder);
}

void wait_for_turn() {
  timespec moment{0, 1'000'000};
  for (int i = 0; i < 500 && printing.test_and_set(); ++i) ::nanosleep(&moment, nullptr);
}

void on_stacks_wanted(int signal, siginfo_t* info, void*) {
  int before = errno;
  if (info->si_code != SI_TKILL || info->si_pid != ::getpid()) {
    signal_all_threads(signal);  // this one included: its turn comes when we return
    errno = before;
    return;
  }
  wait_for_turn();
  char thread[16] = {};
  ::prctl(PR_GET_NAME, thread);
  Line line;
  line << "opscore: stack of thread '" << std::string_view(thread) << "' of worker " << ::getpid();
  if (crash_slot >= 0) line << ", slot " << crash_slot;
  line << "\n";
  line.print();
  print_stack();
  printing.clear();
  errno = before;
}

}  // namespace

void set_crash_slot(int32_t slot) {
  // Why thread_local: the kernel keeps one handler stack per thread.
  thread_local HandlerStack stack;
  [[maybe_unused]] auto* used = &stack;
  crash_slot = slot;
}

void install_crash_handler(CrashPage& page) {
  crash_page.store(&page);
  set_crash_slot(CrashPage::kNoSlot);
  // The first backtrace loads a library and allocates; not in a handler, please.
  void* frame[1];
  ::backtrace(frame, 1);

  struct sigaction action{};
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigfillset(&action.sa_mask);
  action.sa_sigaction = on_crash;
  for (int signal : kCrashSignals) ::sigaction(signal, &action, nullptr);
  action.sa_flags |= SA_RESTART;
  action.sa_sigaction = on_stacks_wanted;
  ::sigaction(SIGQUIT, &action, nullptr);
}

}  // namespace opscore
