#include "opscore/process/launch.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/socket.h>

#include "opscore/process/file_descriptor.h"

namespace opscore {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

TEST(Launch, FilesAreSaidByTheirKind) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  FileDescriptor read(ends[0]), write(ends[1]);
  EXPECT_EQ(file_words(write.get()), "pipe");
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  FileDescriptor one(ends[0]), other(ends[1]);
  EXPECT_EQ(file_words(one.get()), "socket");
  FileDescriptor null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(file_words(null.get()), "/dev/null");
  FileDescriptor file(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  EXPECT_THAT(file_words(file.get()), StartsWith("file /"));
  const int closed = file.get();
  file.close();
  EXPECT_EQ(file_words(closed), "closed");
}

TEST(Launch, ATerminalIsNamed) {
  FileDescriptor master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  ASSERT_TRUE(master.is_open());
  ASSERT_EQ(::grantpt(master.get()), 0);
  ASSERT_EQ(::unlockpt(master.get()), 0);
  FileDescriptor terminal(::open(::ptsname(master.get()), O_RDWR | O_NOCTTY | O_CLOEXEC));
  EXPECT_THAT(file_words(terminal.get()), StartsWith("terminal /dev/pts/"));
}

TEST(Launch, MasksAreNames) {
  EXPECT_THAT(signals_of("0000000000000000"), IsEmpty());
  EXPECT_THAT(signals_of("0000000000005000"), ElementsAre("SIGPIPE", "SIGTERM"));
  EXPECT_THAT(signals_of("0000000100000001"), ElementsAre("SIGHUP", "signal 33"));
}

TEST(Launch, WhatIsBlockedAndIgnoredIsSeen) {
  sigset_t blocked, before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR2);
  ASSERT_EQ(::pthread_sigmask(SIG_BLOCK, &blocked, &before), 0);
  auto* handler = ::signal(SIGURG, SIG_IGN);
  Launch launch = look_at_launch();
  ::signal(SIGURG, handler);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  EXPECT_THAT(launch.blocked, Contains("SIGUSR2"));
  EXPECT_THAT(launch.ignored, Contains("SIGURG"));
  EXPECT_THAT(look_at_launch().ignored, Not(Contains("SIGURG")));
  EXPECT_NE(launch.files[1], "");
}

}  // namespace
}  // namespace opscore
