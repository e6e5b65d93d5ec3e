#include "opscore/app/systemd.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <cstring>

namespace opscore {
namespace {

// An address that starts with @ is in the abstract namespace, where a zero stands for it.
int connect_to(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) return -1;
  std::memcpy(address.sun_path, path.data(), path.size());
  if (path[0] == '@') address.sun_path[0] = '\0';
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd >= 0 && ::connect(fd, reinterpret_cast<sockaddr*>(&address), size) == 0) return fd;
  if (fd >= 0) ::close(fd);
  return -1;
}

int64_t steady_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

Systemd::Systemd(const std::map<std::string, std::string>& environment) {
  auto path = environment.find("NOTIFY_SOCKET");
  if (path == environment.end()) return;
  socket_ = connect_to(path->second);
  auto watchdog = environment.find("WATCHDOG_USEC");
  if (watchdog == environment.end()) return;
  const std::string& text = watchdog->second;
  std::from_chars(text.data(), text.data() + text.size(), alive_every_us_);
  alive_every_us_ /= 3;  // one that is late does no harm
}

Systemd::~Systemd() {
  if (socket_ >= 0) ::close(socket_);
}

void Systemd::send(const char* message) const {
  if (socket_ >= 0) ::send(socket_, message, std::strlen(message), MSG_NOSIGNAL);
}

void Systemd::ready() {
  if (!said_ready_.exchange(true)) send("READY=1");
}

void Systemd::stopping() {
  if (!said_stopping_.exchange(true)) send("STOPPING=1");
}

void Systemd::alive() {
  if (socket_ < 0 || alive_every_us_ <= 0) return;
  int64_t now = steady_us(), due = alive_at_us_;
  if (now >= due && alive_at_us_.compare_exchange_strong(due, now + alive_every_us_))
    send("WATCHDOG=1");
}

}  // namespace opscore
