#include "opscore/process/folder_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <filesystem>
#include <fstream>

#include "opscore/base/error.h"

namespace opscore {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::IsEmpty;

class FolderWatchTest : public testing::Test {
 protected:
  FolderWatchTest() {
    std::string name = (fs::temp_directory_path() / "watched-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    fs::create_directories(folder_ / "app/old");
    write("app/tasks.py");
  }
  ~FolderWatchTest() override { fs::remove_all(folder_); }

  void write(const std::string& path) { std::ofstream(folder_ / path) << "x = 1\n"; }
  std::vector<std::string> wait_for_change(FolderWatch& watch) {
    pollfd watched{watch.file(), POLLIN, 0};
    EXPECT_EQ(::poll(&watched, 1, 10'000), 1);
    return watch.changed();
  }

  fs::path folder_;
};

TEST_F(FolderWatchTest, changes_of_files_that_count_are_told_once) {
  FolderWatch watch({folder_, {"**.py"}, {"app/old/*"}});
  EXPECT_THAT(watch.changed(), IsEmpty());
  write("app/notes.txt");
  write("app/old/gone.py");
  write("app/tasks.py");
  write("app/tasks.py");
  EXPECT_THAT(wait_for_change(watch), ElementsAre("app/tasks.py"));
  EXPECT_THAT(watch.changed(), IsEmpty());
}

TEST_F(FolderWatchTest, folders_that_come_later_are_watched) {
  FolderWatch watch({folder_, {"**.py"}, {}});
  fs::create_directories(folder_ / "app/new");
  wait_for_change(watch);
  write("app/new/more.py");
  EXPECT_THAT(wait_for_change(watch), ElementsAre("app/new/more.py"));
  fs::remove(folder_ / "app/new/more.py");
  EXPECT_THAT(wait_for_change(watch), ElementsAre("app/new/more.py"));
}

TEST_F(FolderWatchTest, a_folder_that_is_not_there_cannot_be_watched) {
  EXPECT_THROW(FolderWatch({folder_ / "none", {"**.py"}, {}}), Error);
}

}  // namespace
}  // namespace opscore
