#include "opscore/app/last_words.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>

#include "opscore/app/open_services.h"
#include "opscore/app/session_context.h"
#include "opscore/process/file_descriptor.h"
#include "opscore/store/postgres/postgres_store.h"

namespace opscore {
namespace {

constexpr int kReaderPatienceMs = 100;
// A line of this size goes into a pipe that poll() says has room.
constexpr size_t kRoom = 4096;

void write_if_room(int fd, std::string_view text) {
  while (!text.empty()) {
    pollfd sink{fd, POLLOUT, 0};
    if (::poll(&sink, 1, kReaderPatienceMs) <= 0 || !(sink.revents & POLLOUT)) return;
    const ssize_t took = ::write(fd, text.data(), std::min(text.size(), kRoom));
    if (took <= 0) return;
    text.remove_prefix(static_cast<size_t>(took));
  }
}

}  // namespace

void say_everywhere(const std::string& log_file, const std::string& text) {
  write_if_room(STDERR_FILENO, text);
  if (!log_file.empty()) {
    FileDescriptor file(::open(log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640));
    if (file.is_open()) write_if_room(file.get(), text);
  }
}

bool keep_last_words(const Config& config, const std::string& words) {
  try {
    SystemClock clock;
    SystemRandom random;
    const auto log = silent_log();
    PostgresOptions shared = postgres_options(config);
    shared.migrate = false;
    const auto store = is_embedded(config) ? open_embedded(config, clock, random, *log)
                                           : open_postgres_store(clock, random, *log, shared);
    const SessionId session = store->fleet().open_session(session_name(), session_context());
    end_session(*store, *log, session, words);
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

}  // namespace opscore
