#include "opscore/process/find_program.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace opscore {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class FindProgram : public testing::Test {
 protected:
  FindProgram() : folder_(fs::path(testing::TempDir()) / fmt::format("find.{}", ::getpid())) {
    fs::create_directories(folder_ / "bin");
    write("bin/tool", "#!/bin/sh\n", true);
    write("plain", "text", false);
    write("orphan", "#! /no/such/python -u\n", true);
  }
  ~FindProgram() override { fs::remove_all(folder_); }

  void write(const std::string& name, const std::string& text, bool executable) {
    std::ofstream(folder_ / name) << text;
    if (executable) fs::permissions(folder_ / name, fs::perms::owner_all);
  }
  std::string problem(const std::string& command) {
    auto found = find_program(command, folder_.string(), "/usr/bin:/bin");
    return found ? "found " + *found : found.error().message();
  }

  fs::path folder_;
};

TEST_F(FindProgram, LooksUpNamesInThePath) {
  EXPECT_EQ(find_program("sh", "", "/no/such:/bin").value(), "/bin/sh");
  EXPECT_EQ(find_program("tool", folder_.string(), "/bin:" + (folder_ / "bin").string()).value(),
            (folder_ / "bin/tool").string());
}

TEST_F(FindProgram, TakesPathsFromTheFolder) {
  EXPECT_EQ(find_program("./bin/tool", folder_.string(), "").value(),
            (folder_ / "bin/tool").string());
  EXPECT_EQ(find_program("/bin/sh", folder_.string(), "").value(), "/bin/sh");
}

TEST_F(FindProgram, SaysWhatIsWrong) {
  EXPECT_EQ(problem("no-such-program"), "no program 'no-such-program' in PATH (/usr/bin:/bin)");
  EXPECT_THAT(problem("./missing"), HasSubstr("no such file"));
  EXPECT_THAT(problem("./plain"), HasSubstr("not executable"));
  EXPECT_THAT(problem("./bin"), HasSubstr("not a regular file"));
  EXPECT_THAT(problem("./orphan"), HasSubstr("interpreter '/no/such/python': no such file"));
  EXPECT_THAT(problem(""), HasSubstr("empty"));
  EXPECT_THAT(problem(std::string("s\0h", 3)), HasSubstr("NUL"));
}

}  // namespace
}  // namespace opscore
