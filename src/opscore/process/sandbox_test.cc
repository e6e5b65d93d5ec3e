// What bubblewrap is told. That it holds is for tests/e2e/test_sandbox.py.

#include "opscore/process/sandbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "opscore/process/run_program.h"

namespace opscore {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

class Sandboxed : public testing::Test {
 protected:
  Sandboxed() {
    char name[] = "/tmp/opscore-sandbox-test-XXXXXX";
    root_ = ::mkdtemp(name);
    for (const char* folder : {"work", "data", "work/sub"}) fs::create_directory(root_ / folder);
    for (const char* file : {"work/run", "work/.env", "data/db", "data/shared"})
      std::ofstream(root_ / file) << "x";
    fs::create_symlink(root_ / "work", root_ / "current");
    child_.program = path("work/run");
    child_.argv = {"run", "--fast"};
    child_.cwd = path("work");
    rules_.tmp_bytes = 4096;
  }
  ~Sandboxed() override { fs::remove_all(root_); }

  std::string path(const std::string& name) const { return (root_ / name).string(); }
  // All words, in one line.
  std::string command() const {
    std::string text;
    for (const std::string& word : sandboxed("/usr/bin/bwrap", child_, rules_).argv)
      text += word + " ";
    return text;
  }
  std::string bind(const std::string& how, const std::string& name) const {
    return how + " " + path(name) + " " + path(name) + " ";
  }

  fs::path root_;
  ChildOptions child_;
  SandboxRules rules_;
};

TEST_F(Sandboxed, RunsTheProgramAtTheEnd) {
  ChildOptions wrapped = sandboxed("/usr/bin/bwrap", child_, rules_);
  EXPECT_EQ(wrapped.program, "/usr/bin/bwrap");
  EXPECT_TRUE(wrapped.contained);
  EXPECT_TRUE(
      command().ends_with("--chdir " + path("work") + " -- " + path("work/run") + " --fast "));
  EXPECT_THAT(command(), HasSubstr(bind("--ro-bind", "work")));
}

TEST_F(Sandboxed, HasNoNetworkUnlessGiven) {
  EXPECT_THAT(command(), HasSubstr("--unshare-all"));
  EXPECT_THAT(command(), Not(HasSubstr("--share-net")));
  rules_.network = true;
  EXPECT_THAT(command(), HasSubstr("--share-net"));
}

TEST_F(Sandboxed, AFileThatIsHiddenHasToBeNamedItself) {
  rules_.hidden = {path("work/.env"), path("work/none")};
  const std::string hidden = "--ro-bind /dev/null " + path("work/.env");
  EXPECT_THAT(command(), HasSubstr(hidden));
  EXPECT_THAT(command(), Not(HasSubstr(path("work/none"))));
  rules_.read = {path("work")};
  EXPECT_THAT(command(), HasSubstr(hidden));
  rules_.read = {path("work/.env")};
  EXPECT_THAT(command(), Not(HasSubstr(hidden)));
}

TEST_F(Sandboxed, AHiddenFolderIsEmptyButForWhatIsNamedInIt) {
  rules_.hidden = {path("data"), path("data/db")};
  rules_.write = {path("data/shared")};
  const std::string text = command();
  size_t empty = text.find("--tmpfs " + path("data") + " ");
  size_t named = text.find(bind("--bind", "data/shared"));
  size_t closed = text.find("--remount-ro " + path("data") + " ");
  EXPECT_LT(empty, named);
  EXPECT_LT(named, closed);
  EXPECT_NE(closed, std::string::npos);
  EXPECT_THAT(text, Not(HasSubstr(path("data/db"))));
  rules_.read = {path("data")};
  EXPECT_THAT(command(), HasSubstr(bind("--ro-bind", "data")));
  EXPECT_THAT(command(), Not(HasSubstr("--remount-ro " + path("data"))));
  EXPECT_THAT(command(), HasSubstr("--ro-bind /dev/null " + path("data/db")));
}

TEST_F(Sandboxed, AWorkingFolderThatIsHiddenStaysHiddenAndTheProgramIsThere) {
  rules_.hidden = {path("work")};
  EXPECT_THAT(command(), Not(HasSubstr(bind("--ro-bind", "work"))));
  EXPECT_THAT(command(), HasSubstr("--tmpfs " + path("work")));
  EXPECT_THAT(command(), HasSubstr(bind("--ro-bind", "work/run")));
}

TEST_F(Sandboxed, TheRootIsNoWorkingFolderToShow) {
  child_.cwd = "/";
  EXPECT_THAT(command(), Not(HasSubstr("--ro-bind / / ")));
  EXPECT_THAT(command(), HasSubstr("--remount-ro / "));
}

TEST_F(Sandboxed, ALinkIsALinkInsideSoThatItShowsNothingElse) {
  rules_.hidden = {path("work/.env")};
  rules_.read = {path("current")};
  EXPECT_THAT(command(), HasSubstr("--symlink " + path("work") + " " + path("current") + " "));
  EXPECT_THAT(command(), HasSubstr("--ro-bind /dev/null " + path("work/.env")));
}

TEST_F(Sandboxed, ProcessesAreCountedInside) {
  child_.limits.processes = 7;
  ChildOptions wrapped = sandboxed("/usr/bin/bwrap", child_, rules_);
  EXPECT_EQ(wrapped.limits.processes, 0U);
  EXPECT_THAT(command(),
              HasSubstr("-- /usr/bin/prlimit --nproc=7:7 -- " + path("work/run") + " --fast "));
}

TEST_F(Sandboxed, RelativePathsStartWhereTheServerIs) {
  rules_.read = {fs::relative(root_ / "work/sub").string()};
  EXPECT_THAT(command(), HasSubstr(bind("--ro-bind", "work/sub")));
  EXPECT_THAT(command(), Not(HasSubstr(rules_.read[0] + " ")));
}

TEST_F(Sandboxed, WritingWinsOverReading) {
  rules_.read = {path("work/sub")};
  rules_.write = {path("work/sub")};
  EXPECT_THAT(command(), HasSubstr(bind("--bind", "work/sub")));
  EXPECT_THAT(command(), Not(HasSubstr(bind("--ro-bind", "work/sub"))));
}

class FindSandbox : public Sandboxed {
 protected:
  // A bwrap of ours; the folder that it is in.
  std::string fake_bwrap(const std::string& script) {
    std::ofstream(root_ / "bwrap") << script;
    fs::permissions(root_ / "bwrap", fs::perms::owner_all);
    return root_.string();
  }
};

TEST_F(FindSandbox, SaysWhatItSaidAndHowItEnded) {
  auto found = find_sandbox(fake_bwrap("#!/bin/sh\necho 'bwrap: no luck' >&2; exit 3\n"));
  ASSERT_FALSE(found);
  EXPECT_THAT(found.error().message(), HasSubstr("bwrap: no luck, exit code 3"));
  found = find_sandbox(fake_bwrap("neither a script nor a program"));
  ASSERT_FALSE(found);
  EXPECT_THAT(found.error().message(), HasSubstr("Exec format error, exit code 127"));
}

// A configuration is also loaded in a process that runs programs.
TEST_F(FindSandbox, IsNotTakenForSomethingThatAProgramLeftBehind) {
  auto log = silent_log();
  Reaper reaper(*log);
  ProgramRun run;
  run.child = {.program = "/bin/true", .argv = {"true"}};
  run.mark = "task_x#1";
  run.on_err = [](std::string_view) {};
  const std::string folder = fake_bwrap("#!/bin/sh\ntouch " + path("started") + "; while [ ! -e " +
                                        path("go") + " ]; do :; done\n");
  std::expected<std::string, Error> found;
  std::jthread probe([&] { found = find_sandbox(folder); });
  while (!fs::exists(root_ / "started")) run_program(reaper, run);
  run_program(reaper, run);  // and kills what it takes for a leftover at its end
  std::ofstream(root_ / "go") << "now";
  probe.join();
  EXPECT_TRUE(found) << found.error().message();
}

TEST_F(FindSandbox, SaysWhatIsMissingAndWhatToDo) {
  auto found = find_sandbox("/no/such/folder");
  ASSERT_FALSE(found);
  EXPECT_THAT(found.error().message(), HasSubstr("install bubblewrap"));
}

}  // namespace
}  // namespace opscore
