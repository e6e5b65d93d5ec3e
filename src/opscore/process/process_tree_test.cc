#include "opscore/process/process_tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

namespace opscore {
namespace {

// A child that waits to be killed, and is.
class Sleeper {
 public:
  explicit Sleeper(const std::vector<const char*>& environment = {}) {
    pid_ = ::fork();
    if (pid_ != 0) return;
    std::vector<const char*> env = environment;
    env.push_back(nullptr);
    const char* argv[] = {"a) b (c", "1000", nullptr};
    ::execve("/bin/sleep", const_cast<char**>(argv), const_cast<char**>(env.data()));
    ::_exit(127);
  }
  ~Sleeper() { end(); }
  void end() {
    if (pid_ == 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_;
};

TEST(ProcessTree, ReadsOurselves) {
  auto self = read_process(::getpid());
  ASSERT_TRUE(self);
  EXPECT_EQ(self->parent, ::getppid());
  EXPECT_EQ(self->group, ::getpgrp());
  EXPECT_EQ(self->session, ::getsid(0));
  EXPECT_FALSE(self->ended());
  EXPECT_GT(self->started, 0u);
}

TEST(ProcessTree, FindsChildrenAndDescendants) {
  Sleeper child;
  EXPECT_THAT(children_of(::getpid()), testing::Contains(child.pid()));
  auto below = descendants_of(::getppid());
  EXPECT_TRUE(std::any_of(below.begin(), below.end(),
                          [&](const ProcessInfo& p) { return p.pid == child.pid(); }));
}

TEST(ProcessTree, ReadsAnEnvironment) {
  Sleeper child({"AB=2", "A=1=x", "EMPTY="});
  // The child may still be about to exec.
  while (environment_of(child.pid(), "AB") != "2") {
    auto process = read_process(child.pid());
    ASSERT_TRUE(process && !process->ended());
  }
  EXPECT_EQ(environment_of(child.pid(), "A"), "1=x");
  EXPECT_EQ(environment_of(child.pid(), "EMPTY"), "");
  EXPECT_FALSE(environment_of(child.pid(), "B"));
}

TEST(ProcessTree, SignalsOnlyTheVeryProcess) {
  Sleeper child;
  auto process = read_process(child.pid());
  ASSERT_TRUE(process);
  ProcessInfo other = *process;
  ++other.started;
  EXPECT_FALSE(signal_exactly(other, SIGKILL));
  EXPECT_TRUE(signal_exactly(*process, SIGSTOP));
  child.end();
  EXPECT_FALSE(signal_exactly(*process, SIGKILL));
  EXPECT_FALSE(read_process(process->pid));
}

}  // namespace
}  // namespace opscore
