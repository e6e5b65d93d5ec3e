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

// What a reader may see of one task, one moment after the other.
class HistoryGrows : public testing::Test {
 protected:
  TimePoint at(int ms) const { return t_ + Duration(ms); }

  void store(int ms, const std::string& kind, int attempt) {
    stored_.push_back({0, at(ms), kind, attempt, {}});
  }

  // What is there now begins with all that was there before, under the same numbers.
  std::vector<std::string> look() {
    auto now = history(task_, attempts_, stored_);
    for (size_t i = 0; i < seen_.size() && i < now.size(); ++i)
      EXPECT_EQ(now[i].kind, seen_[i].kind) << "event " << i + 1;
    EXPECT_GE(now.size(), seen_.size());
    for (size_t i = 0; i < now.size(); ++i) EXPECT_EQ(now[i].number, static_cast<int>(i) + 1);
    seen_ = now;
    return kinds(now);
  }

  void claim(int ms) {
    task_.live.state = State::running;
    attempts_.push_back({++task_.live.attempt, {}, false, {}, at(ms), {}, {}, {}});
  }
  void end_attempt(int ms, AttemptEnd end) {
    attempts_.back().end = end;
    attempts_.back().ended_at = at(ms);
    task_.live.state = State::pending;
  }
  void end(int ms, State state) {
    task_.live.state = state;
    task_.finished_at = at(ms);
  }
  void retry(int ms) {
    store(ms, std::string(to_string(task_.state())), task_.live.attempt);
    store(ms, "retried", task_.live.attempt);
    task_.live.state = State::pending;
    task_.finished_at.reset();
  }

  TimePoint t_ = from_ms(1'750'000'000'000);
  Task task_ = task_at(t_, State::pending);
  std::vector<Attempt> attempts_;
  std::vector<TaskEvent> stored_, seen_;
};

TEST_F(HistoryGrows, when_a_start_becomes_known_late) {
  look();
  claim(1);
  store(9, "cancel_requested", 1);
  EXPECT_THAT(look(), ElementsAre("submitted")) << "shown when it is known what came before it";
  attempts_.back().started_at = at(2);
  EXPECT_THAT(look(), ElementsAre("submitted", "started", "cancel_requested"));
  end_attempt(9, AttemptEnd::cancelled);
  end(9, State::cancelled);
  EXPECT_THAT(look(), ElementsAre("submitted", "started", "cancel_requested", "attempt_cancelled",
                                  "cancelled"));
}

TEST_F(HistoryGrows, when_the_start_stays_unknown) {
  claim(1);
  store(2, "cancel_requested", 1);
  look();
  store(3, "suspect", 1);
  end_attempt(3, AttemptEnd::lost);
  end(3, State::cancelled);
  EXPECT_THAT(look(),
              ElementsAre("submitted", "cancel_requested", "attempt_lost", "suspect", "cancelled"));
}

TEST_F(HistoryGrows, when_everything_is_within_one_millisecond) {
  claim(0);
  attempts_.back().started_at = at(0);
  look();
  end_attempt(0, AttemptEnd::error);
  end(0, State::failed);
  EXPECT_THAT(look(), ElementsAre("submitted", "started", "attempt_error", "failed"));
  store(0, "webhook_delivered", 1);
  look();
  retry(0);
  look();
  claim(0);
  attempts_.back().started_at = at(0);
  EXPECT_THAT(look(), ElementsAre("submitted", "started", "attempt_error", "failed",
                                  "webhook_delivered", "retried", "started"));
}

TEST_F(HistoryGrows, when_clocks_disagree) {
  claim(50);
  attempts_.back().started_at = at(60);
  look();
  store(10, "cancel_requested", 1);  // by a clock that is behind the worker's
  look();
  end_attempt(40, AttemptEnd::completed);
  end(40, State::completed);
  look();
  store(5, "webhook_delivered", 1);
  EXPECT_THAT(look(), ElementsAre("submitted", "started", "cancel_requested", "attempt_completed",
                                  "completed", "webhook_delivered"));
}

TEST_F(HistoryGrows, when_a_task_is_retried_again_and_again) {
  end(1, State::cancelled);
  look();
  retry(2);
  look();
  end(3, State::cancelled);
  look();
  retry(4);
  EXPECT_THAT(look(), ElementsAre("submitted", "cancelled", "retried", "cancelled", "retried"));
  claim(5);
  attempts_.back().started_at = at(6);
  look();
  store(7, "webhook_superseded", 0);  // of an end before the retry
  look();
  end_attempt(8, AttemptEnd::completed);
  end(8, State::completed);
  EXPECT_THAT(look(),
              ElementsAre("submitted", "cancelled", "retried", "cancelled", "retried", "started",
                          "webhook_superseded", "attempt_completed", "completed"));
}

TEST_F(HistoryGrows, when_an_old_webhook_is_answered_before_a_late_start) {
  end(1, State::cancelled);
  retry(2);
  look();
  claim(3);
  store(5, "webhook_superseded", 0);
  look();
  attempts_.back().started_at = at(4);
  EXPECT_THAT(look(),
              ElementsAre("submitted", "cancelled", "retried", "started", "webhook_superseded"));
}

TEST(History, keeps_its_numbers_while_python_reports) {
  TimePoint t = from_ms(1'750'000'000'000);
  // The record of the handover came after the first report.
  const std::vector<TaskEvent> stored{{0, t + Duration(11), "picked_up", 1, {}},
                                      {0, t + Duration(12), "handed_to_dramatiq", 0, {}}};
  Task task = task_at(t, State::running);
  Attempt only{1, {}, false, {}, t, t + Duration(10), {}, {}};
  EXPECT_THAT(kinds(history(task, {only}, stored)),
              ElementsAre("submitted", "started", "picked_up", "handed_to_dramatiq"));
  task.live.state = State::completed;
  task.finished_at = only.ended_at = t + Duration(20);
  only.end = AttemptEnd::completed;
  EXPECT_THAT(kinds(history(task, {only}, stored)),
              ElementsAre("submitted", "started", "picked_up", "handed_to_dramatiq",
                          "attempt_completed", "completed"));
}

}  // namespace
}  // namespace opscore
