#include "opscore/worker/split_runner.h"

#include <gmock/gmock.h>

#include "opscore/worker/child_runner.h"
#include "opscore/worker/conformance/runner_conformance.h"
#include "opscore/worker/conformance/thread_children.h"
#include "opscore/worker/thread_runner.h"

namespace opscore {
namespace {

using testing::UnorderedElementsAre;

// "own" runs here and "hosted" in a child; one slot each.
class SplitRunnerTest : public RunnerConformance {
 protected:
  void start_both() {
    auto code = std::make_shared<Registry>();
    auto gate = std::function<std::string(TaskContext&)>([this](TaskContext& task) {
      gate_.pass(task.stop());
      return "null";
    });
    auto both = std::make_shared<Registry>();
    code->add("hosted", gate);
    both->add("own", gate);
    both->add_hosted(code->find("hosted")->entry);
    children_.emplace(code, clock_, 1, 1);
    own_.emplace(both, *store_, clock_, *log_, ThreadRunnerOptions{.slots = 1},
                 [this](auto finished) { ended_ += finished.size(); });
    hosted_.emplace(both, *children_, *store_, clock_, *log_, ChildRunnerOptions{},
                    [this](auto finished) { ended_ += finished.size(); });
    split_.emplace(*own_, *hosted_);
    own_->start_threads();
    hosted_->start_threads();
    ASSERT_TRUE(eventually([&] { return split_->free() == 2; }));
  }
  void TearDown() override {
    gate_.open();
    if (hosted_) hosted_->stop_threads();
  }

  std::atomic<size_t> ended_{0};
  std::optional<ThreadChildren> children_;
  std::optional<ThreadRunner> own_;
  std::optional<ChildRunner> hosted_;
  std::optional<SplitRunner> split_;
};

TEST_F(SplitRunnerTest, each_task_goes_to_the_runner_that_has_its_actor) {
  start_both();
  EXPECT_THAT(*split_->types(), UnorderedElementsAre("own", "hosted"));
  EXPECT_EQ(split_->types(), split_->types());
  auto tasks = claimed("own");
  auto more = claimed("hosted");
  tasks.insert(tasks.end(), more.begin(), more.end());
  split_->start(tasks);
  ASSERT_TRUE(gate_.wait_entered(2));
  EXPECT_FALSE(own_->idle());
  EXPECT_FALSE(hosted_->idle());
  EXPECT_TRUE(split_->holds(tasks[0].lease()));
  EXPECT_TRUE(split_->holds(tasks[1].lease()));
  SessionReport report;
  split_->fill(report);
  EXPECT_EQ(report.slots, 2);
  EXPECT_EQ(report.running.size(), 2u);
  gate_.open();
  EXPECT_TRUE(eventually([&] { return split_->idle() && ended_ == 2; }));
}

TEST_F(SplitRunnerTest, a_full_runner_has_no_room_while_the_other_has) {
  start_both();
  split_->start(claimed("hosted"));
  ASSERT_TRUE(gate_.wait_entered(1));
  std::map<std::string, size_t> rooms;
  for (const auto& room : split_->room())
    for (const std::string& type : room.types) rooms[type] = room.max;
  EXPECT_EQ(rooms.at("hosted"), 0u);
  EXPECT_EQ(rooms.at("own"), 1u);
  EXPECT_EQ(split_->appetite(Duration(0)), 1u);
}

}  // namespace
}  // namespace opscore
