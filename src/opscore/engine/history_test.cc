#include "opscore/engine/history.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace opscore {
namespace {

using testing::ElementsAre;

std::vector<std::string> kinds(const std::vector<TaskEvent>& events) {
  std::vector<std::string> words;
  for (const TaskEvent& event : events) words.push_back(event.kind);
  return words;
}

Task task_at(TimePoint created, State state) {
  Task task;
  task.key = TaskKey::first_at(created);
  task.live.state = state;
  return task;
}

TEST(History, derives_submit_start_and_end_from_rows) {
  TimePoint t = from_ms(1'750'000'000'000);
  Task task = task_at(t, State::completed);
  task.live.attempt = 2;
  task.finished_at = t + Duration(50);
  Attempt first{1,
                AttemptEnd::error,
                true,
                {},
                t,
                t + Duration(10),
                t + Duration(20),
                {"boom", "no luck", ""}};
  Attempt second{2, AttemptEnd::completed, true, {}, t, t + Duration(40), t + Duration(50), {}};
  auto events = history(task, {first, second}, {});
  EXPECT_THAT(kinds(events), ElementsAre("submitted", "started", "attempt_error", "started",
                                         "attempt_completed", "completed"));
  for (size_t i = 0; i < events.size(); ++i) EXPECT_EQ(events[i].number, static_cast<int>(i) + 1);
  EXPECT_EQ(events[2].data, R"({"kind":"boom","message":"no luck"})");
}

TEST(History, puts_stored_events_where_they_happened) {
  TimePoint t = from_ms(1'750'000'000'000);
  Task task = task_at(t, State::cancelled);
  task.finished_at = t + Duration(30);
  Attempt only{1, AttemptEnd::cancelled, false, {}, t, t + Duration(10), t + Duration(30), {}};
  TaskEvent asked{0, t + Duration(20), "cancel_requested", 1, {}};
  EXPECT_THAT(
      kinds(history(task, {only}, {asked})),
      ElementsAre("submitted", "started", "cancel_requested", "attempt_cancelled", "cancelled"));
}

TEST(History, of_a_pending_task_is_its_submission) {
  Task task = task_at(from_ms(1'750'000'000'000), State::pending);
  EXPECT_THAT(kinds(history(task, {}, {})), ElementsAre("submitted"));
}

}  // namespace
}  // namespace opscore
