#include "opscore/model/job.h"

#include <gtest/gtest.h>

#include "opscore/base/error.h"

namespace opscore {
namespace {

TEST(Job, WordsAndActionsAreOneToOne) {
  for (JobAction action :
       {JobAction::cancel, JobAction::retry, JobAction::remove, JobAction::export_tasks})
    EXPECT_EQ(job_action_from(to_string(action)), action);
  EXPECT_EQ(job_action_from("remove"), std::nullopt);
}

TEST(Job, EachActionHasItsStates) {
  for (int i = 0; i < kStateCount; ++i) {
    auto state = static_cast<State>(i);
    EXPECT_EQ(can(JobAction::cancel, state), !is_terminal(state));
    EXPECT_EQ(can(JobAction::retry, state), is_terminal(state));
    EXPECT_EQ(can(JobAction::remove, state), state != State::running);
    EXPECT_TRUE(can(JobAction::export_tasks, state));
    EXPECT_EQ(default_states(JobAction::cancel).has(state), !is_terminal(state));
    EXPECT_EQ(default_states(JobAction::retry).has(state), state == State::failed);
    EXPECT_TRUE(default_states(JobAction::remove).has(state));
  }
}

TEST(Job, MovesOnBySlices) {
  Job job;
  job.origin = TaskKey{100};
  job.bound = TaskKey{200};
  EXPECT_EQ(job.progress(), 0);
  JobSlice slice;
  slice.look = {{{TaskKey{110}, State::pending}, {TaskKey{150}, State::running}}, 7, TaskKey{150}};
  JobCounts acted;
  acted.done = 1;
  acted.skip("running");
  move_on(job, slice, acted, from_ms(5));
  EXPECT_EQ(job.state, JobState::running);
  EXPECT_EQ(job.started_at, from_ms(5));
  EXPECT_EQ(job.progress(), 0.5);
  slice.look.ended = true;
  move_on(job, slice, acted, from_ms(9));
  EXPECT_EQ(job.state, JobState::completed);
  EXPECT_EQ(job.started_at, from_ms(5));
  EXPECT_EQ(job.ended_at, from_ms(9));
  EXPECT_EQ(job.counts, (JobCounts{14, 4, 2, {{"running", 2}}}));
  EXPECT_EQ(job.progress(), 1);
}

TEST(Job, CountsAreStored) {
  std::map<std::string, int64_t> skipped{{"running", 3}, {"deleted", 1}};
  EXPECT_EQ(decode_skipped(encode_skipped(skipped)), skipped);
  EXPECT_TRUE(decode_skipped("").empty());
  EXPECT_THROW(decode_skipped(R"({"running": "3"})"), Error);
}

TEST(TaskFilter, IsStoredWhole) {
  TaskFilter filter;
  EXPECT_TRUE(filter.empty());
  EXPECT_TRUE(decode_filter(encode_filter(filter)).empty());
  filter.states = StateSet(State::failed, State::cancelled);
  filter.type = "mail.\"send\"";
  filter.queue = "q";
  filter.labels = {{"a", "1"}, {"a", "2"}, {"b", ""}};
  filter.created_since = from_ms(1);
  filter.created_before = from_ms(2);
  TaskFilter read = decode_filter(encode_filter(filter));
  EXPECT_FALSE(read.empty());
  EXPECT_EQ(encode_filter(read), encode_filter(filter));
  EXPECT_EQ(read.labels, filter.labels);
  EXPECT_TRUE(read.states.has(State::failed));
  EXPECT_FALSE(read.states.has(State::completed));
}

TEST(TaskFilter, ANewerConditionIsNotIgnored) {
  EXPECT_THROW(decode_filter(R"({"owner": "me"})"), Error);
  EXPECT_THROW(decode_filter(R"({"states": ["broken"]})"), Error);
}

}  // namespace
}  // namespace opscore
