#include "opscore/process/crash_page.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

namespace opscore {
namespace {

TEST(CrashPage, SurvivesTheDeathOfTheProcessThatWroteIt) {
  CrashPage page;
  pid_t worker = ::fork();
  ASSERT_GE(worker, 0);
  if (worker == 0) {
    page.set_session(42);
    page.enter({.key = 1001, .attempt = 7, .slot = 3, .started_at = from_ms(1700000000123)});
    page.enter({.key = 1002, .attempt = 1, .slot = 5, .started_at = {}});
    page.enter({.key = 1003, .attempt = 2, .slot = 1023, .started_at = {}});
    page.leave(5);
    page.progress();
    ::kill(::getpid(), SIGKILL);
  }
  ::waitpid(worker, nullptr, 0);

  EXPECT_EQ(page.session(), 42);
  EXPECT_EQ(page.progress_count(), 1u);
  auto entered = page.entered();
  ASSERT_EQ(entered.size(), 2u);
  EXPECT_EQ(entered[0].key, 1001);
  EXPECT_EQ(entered[0].attempt, 7);
  EXPECT_EQ(entered[0].slot, 3);
  EXPECT_EQ(entered[0].started_at, from_ms(1700000000123));
  EXPECT_EQ(entered[1].slot, 1023);
  EXPECT_FALSE(page.blamed_slot());
}

TEST(CrashPage, TheFirstBlameCounts) {
  CrashPage page;
  page.blame(4, SIGSEGV);
  page.blame(9, SIGABRT);
  EXPECT_EQ(page.blamed_slot(), 4);
  EXPECT_EQ(page.crash_signal(), SIGSEGV);
}

TEST(CrashPage, ACrashOutsideOfSlotsBlamesNone) {
  CrashPage page;
  page.blame(CrashPage::kNoSlot, SIGSEGV);
  EXPECT_FALSE(page.blamed_slot());
  EXPECT_EQ(page.crash_signal(), SIGSEGV);
  EXPECT_FALSE(page.sent_from_outside());

  CrashPage other;
  other.blame(CrashPage::kOutside, SIGABRT);
  EXPECT_FALSE(other.blamed_slot());
  EXPECT_TRUE(other.sent_from_outside());
}

TEST(CrashPage, ResetForgetsEverything) {
  CrashPage page;
  page.set_session(1);
  page.enter({.key = 5, .attempt = 1, .slot = 0, .started_at = {}});
  page.blame(0, SIGSEGV);
  page.progress();
  page.reset();
  EXPECT_EQ(page.session(), 0);
  EXPECT_TRUE(page.entered().empty());
  EXPECT_FALSE(page.blamed_slot());
  EXPECT_EQ(page.crash_signal(), 0);
  EXPECT_EQ(page.progress_count(), 0u);
}

}  // namespace
}  // namespace opscore
