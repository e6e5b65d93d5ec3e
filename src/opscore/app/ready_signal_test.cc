#include "opscore/app/ready_signal.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>

#include "opscore/base/error.h"
#include "opscore/store/sqlite/test_folder.h"

namespace opscore {
namespace {

std::string content(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// All that comes until the writing end is closed.
std::string read_all(int fd) {
  std::string text;
  std::array<char, 64> part{};
  for (ssize_t got; (got = ::read(fd, part.data(), part.size())) > 0;)
    text.append(part.data(), static_cast<size_t>(got));
  return text;
}

TEST(ReadySignal, WritesOneLineAndClosesTheDescriptor) {
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe(pipe.data()), 0);
  ReadySignal signal(pipe[1], "");
  EXPECT_NE(::fcntl(pipe[1], F_GETFD) & FD_CLOEXEC, 0) << "programs must not keep it open";
  EXPECT_EQ(signal.ready(), "");
  EXPECT_EQ(signal.ready(), "");
  EXPECT_EQ(read_all(pipe[0]), "ready\n");
  ::close(pipe[0]);
}

TEST(ReadySignal, AnEndWithoutALineMeansThatItNeverWas) {
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe(pipe.data()), 0);
  {
    ReadySignal signal(pipe[1], "");
  }
  EXPECT_EQ(read_all(pipe[0]), "");
  ::close(pipe[0]);
}

TEST(ReadySignal, TheFileIsThereWhileItIsReady) {
  sqlite::TestFolder folder;
  const std::string path = folder.path("ready");
  std::ofstream(path) << "1\n";  // of a process before
  ReadySignal signal(std::nullopt, path);
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_EQ(signal.ready(), "");
  EXPECT_EQ(content(path), std::to_string(::getpid()) + "\n");
  signal.over();
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(ReadySignal, SaysWhyItCannotBeHeard) {
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe(pipe.data()), 0);
  EXPECT_THROW(ReadySignal(pipe[0], ""), Error) << "the end for reading";
  EXPECT_THROW(ReadySignal(9999, ""), Error);
  EXPECT_THROW(ReadySignal(std::nullopt, "/no/such/folder/ready"), Error);
  const int full = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
  ReadySignal signal(full, "");
  EXPECT_EQ(signal.ready(), "--ready-fd " + std::to_string(full) + ": No space left on device");
  ::close(pipe[0]);
  ::close(pipe[1]);
}

}  // namespace
}  // namespace opscore
