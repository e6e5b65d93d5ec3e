#include "opscore/app/systemd.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

namespace opscore {
namespace {

// The manager's end, in the abstract namespace or as a file.
class Listening {
 public:
  explicit Listening(const std::string& path) : path_(path) {
    fd_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    if (path[0] == '@') address.sun_path[0] = '\0';
    auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
    EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&address), size), 0);
  }
  ~Listening() {
    ::close(fd_);
    if (path_[0] != '@') ::unlink(path_.c_str());
  }
  std::string heard() const {
    char text[64];
    auto size = ::recv(fd_, text, sizeof text, 0);
    return size < 0 ? "" : std::string(text, static_cast<size_t>(size));
  }

 private:
  const std::string path_;
  int fd_;
};

TEST(Systemd, says_each_thing_once) {
  const std::string name = "/opscore-notify-" + std::to_string(::getpid());
  for (const std::string& path : {"/tmp" + name, "@" + name}) {
    Listening listening(path);
    Systemd systemd({{"NOTIFY_SOCKET", path}});
    systemd.ready();
    systemd.ready();
    EXPECT_EQ(listening.heard(), "READY=1");
    EXPECT_EQ(listening.heard(), "");
    systemd.alive();  // nobody asked for it
    EXPECT_EQ(listening.heard(), "");
    systemd.stopping();
    systemd.stopping();
    EXPECT_EQ(listening.heard(), "STOPPING=1");
    EXPECT_EQ(listening.heard(), "");
  }
}

TEST(Systemd, is_alive_no_more_often_than_asked_for) {
  const std::string path = "@opscore-alive-" + std::to_string(::getpid());
  Listening listening(path);
  Systemd systemd({{"NOTIFY_SOCKET", path}, {"WATCHDOG_USEC", "3600000000"}});
  for (int i = 0; i < 5; ++i) systemd.alive();
  EXPECT_EQ(listening.heard(), "WATCHDOG=1");
  EXPECT_EQ(listening.heard(), "");
}

TEST(Systemd, needs_nobody_to_listen) {
  for (const char* nowhere : {"", "/no/such/socket", "relative"}) {
    Systemd systemd({{"NOTIFY_SOCKET", nowhere}, {"WATCHDOG_USEC", "1"}});
    systemd.ready();
    systemd.alive();
    systemd.stopping();
  }
  Systemd({}).ready();
}

}  // namespace
}  // namespace opscore
