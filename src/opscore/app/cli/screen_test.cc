#include "opscore/app/cli/screen.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "opscore/app/cli/exit_codes.h"

namespace opscore {
namespace {

using testing::HasSubstr;
using testing::Not;

Table example() {
  Table table({"ID", "STATUS", "ERROR"});
  table.add({"task_1", "failed", "a long story about what went wrong"});
  table.add({"task_22", "completed", "é"});
  return table;
}

TEST(Table, IsPlainInAPipe) {
  EXPECT_EQ(example().text({}),
            "ID\tSTATUS\tERROR\ntask_1\tfailed\ta long story about what went wrong\n"
            "task_22\tcompleted\té\n");
}

TEST(Table, IsAlignedOnATerminal) {
  EXPECT_EQ(example().text({.terminal = true, .width = 80}),
            "ID       STATUS     ERROR\n"
            "task_1   failed     a long story about what went wrong\n"
            "task_22  completed  é\n");
}

TEST(Table, FitsTheTerminal) {
  EXPECT_EQ(example().text({.terminal = true, .width = 30}),
            "ID       STATUS     ERROR\n"
            "task_1   failed     a long st…\n"
            "task_22  completed  é\n");
  EXPECT_THAT(example().text({.terminal = true, .width = 5}), HasSubstr("task_22"));
}

TEST(Table, CellsStayOnTheirLine) {
  Table table({"A", "B"});
  table.add({"x\ny", "\x1b[31m\tz"});
  EXPECT_EQ(table.text({}), "A\tB\nx y\t [31m z\n");
}

TEST(Table, ColoursStatesOnlyWhereWanted) {
  EXPECT_THAT(example().text({.terminal = true, .colour = true, .width = 80}),
              HasSubstr("\x1b[31mfailed\x1b[0m     a long"));
  EXPECT_THAT(example().text({.terminal = true, .width = 80}), Not(HasSubstr("\x1b")));
}

TEST(Screen, HonoursTheEnvironment) {
  EXPECT_EQ(look_at_terminal({{"COLUMNS", "123"}}).width, 123u);
  EXPECT_EQ(look_at_terminal({{"COLUMNS", "wide"}}).colour, look_at_terminal({}).colour);
  EXPECT_FALSE(look_at_terminal({{"NO_COLOR", "1"}}).colour);
}

TEST(ShortAge, OneUnit) {
  EXPECT_EQ(short_age(Duration(-5)), "0s");
  EXPECT_EQ(short_age(Duration(59'999)), "59s");
  EXPECT_EQ(short_age(Duration(60'000)), "1m");
  EXPECT_EQ(short_age(Duration(3'600'000)), "1h");
  EXPECT_EQ(short_age(Duration(86'400'000 * 3)), "3d");
}

TEST(Printable, KeepsTheTerminalSafe) {
  std::string nasty = "a\x1b[2Jb\xC2\x9B\nc\tü\x7F";
  EXPECT_EQ(printable({}, nasty), nasty);
  EXPECT_EQ(printable({.terminal = true}, nasty), "a�[2Jb�\nc\tü�");
}

TEST(ExitCodes, FollowTheStatus) {
  EXPECT_EQ(exit_status_of(404), CommandExit::not_found);
  EXPECT_EQ(exit_status_of(409), CommandExit::refused);
  EXPECT_EQ(exit_status_of(401), CommandExit::refused);
  EXPECT_EQ(exit_status_of(422), CommandExit::refused);
  EXPECT_EQ(exit_status_of(503), CommandExit::unreachable);
  EXPECT_EQ(client_exit_status(Errc::unavailable), CommandExit::unreachable);
  EXPECT_EQ(client_exit_status(Errc::invalid), CommandExit::usage);
  EXPECT_EQ(server_exit_status(Errc::invalid), CommandExit::usage);
  EXPECT_EQ(server_exit_status(Errc::conflict), CommandExit::refused);
  for (int i = 0; i < static_cast<int>(std::size(kExitWords)); ++i)
    EXPECT_EQ(static_cast<int>(kExitWords[i].status), i);
}

}  // namespace
}  // namespace opscore
