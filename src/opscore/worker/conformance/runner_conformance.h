#pragma once
// The behaviour that every runner has, as a test suite over a factory. A runner takes part with
//
//   INSTANTIATE_RUNNER_CONFORMANCE(thread, make_thread_runner);
//
// in its own test file.

#include <gtest/gtest.h>

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "opscore/actor/actor.h"
#include "opscore/base/random.h"
#include "opscore/process/crash_page.h"
#include "opscore/store/store.h"
#include "opscore/worker/runner.h"

namespace opscore {

// What a runner is made of. All references outlive it.
struct RunnerParts {
  std::shared_ptr<const Registry> actors;
  Store& store;
  const Clock& clock;
  Log& log;
  CrashPage& page;
  size_t slots;
  Runner::Post post;
  std::function<void()> on_room;
};
// Makes a runner that is started; its destructor stops it.
using RunnerFactory = std::function<std::unique_ptr<Runner>(RunnerParts)>;

// Longer than any test waits when all is well; a wait that takes it fails its test.
inline constexpr std::chrono::seconds kTestPatience{30};

// True when `done` answers true, asked again and again, before the patience ends.
bool eventually(const std::function<bool()>& done);

// Where actors wait until the test lets them go.
class Gate {
 public:
  // For actors. Counts as entered; false when the stop token ended the wait.
  bool pass(std::stop_token stop);
  void pass_heedless() { pass({}); }
  // For tests.
  bool wait_entered(size_t count);
  void open();

 private:
  std::mutex mutex_;
  std::condition_variable_any changed_;
  size_t entered_ = 0;  // guarded by mutex_
  bool open_ = false;   // guarded by mutex_
};

// A runner over a memory store and a clock that stands still, with what it posted. The registry has
// "noop", "echo" (its input), "gate" (waits for gate_, heeds its stop token) and "heedless" (waits
// for gate_ whatever happens).
class RunnerConformance : public testing::TestWithParam<RunnerFactory> {
 protected:
  RunnerConformance();
  ~RunnerConformance() override;

  void start_runner(size_t slots = 2);
  // Claimed by session_.
  std::vector<ClaimedTask> claimed(const std::string& type, size_t count = 1,
                                   const TaskOptions& options = {});
  // Starts `count` tasks; their leases.
  std::vector<Lease> run(const std::string& type, size_t count = 1,
                         const TaskOptions& options = {});
  // Starts one task of an actor that is added now, and what came of it.
  Finished run_function(std::function<Outcome(TaskContext&)> function);
  // What was posted, once there are at least `count`; fails the test when that takes too long.
  std::vector<Finished> posted(size_t count);
  Finished only_posted();
  size_t posted_count();

  FakeClock clock_;
  SeededRandom random_{11};
  std::unique_ptr<Log> log_ = silent_log();
  std::unique_ptr<Store> store_;
  SessionId session_;
  std::shared_ptr<Registry> actors_ = std::make_shared<Registry>();
  Registry& registry_ = *actors_;
  CrashPage page_;
  Gate gate_;
  std::atomic<int> rooms_{0};
  std::unique_ptr<Runner> runner_;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Finished> posted_;  // guarded by mutex_
};

}  // namespace opscore

#define INSTANTIATE_RUNNER_CONFORMANCE(name, factory)                                         \
  namespace opscore {                                                                         \
  INSTANTIATE_TEST_SUITE_P(name, RunnerConformance, testing::Values(RunnerFactory(factory))); \
  }                                                                                           \
  static_assert(true)
