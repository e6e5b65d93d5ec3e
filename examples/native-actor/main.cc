// A program with two actors of its own; everything else that opscore can do comes with it.

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "opscore/actor.h"

using namespace opscore;

// The result is JSON text. Input is JSON text, too: here the one goes into the other as it is.
static std::string greet(TaskContext& task) {
  return R"({"hello": )" + task.input() + "}";
}

// Ten steps of 0.3 s, shown as progress. A cancel, a timeout or the end of the server sets the
// token, which ends the wait at once.
static Outcome count_down(TaskContext& task) {
  std::mutex mutex;
  std::condition_variable_any pause;
  for (int left = 10; left > 0; --left) {
    task.progress(R"({"left": )" + std::to_string(left) + "}");
    std::unique_lock lock(mutex);
    pause.wait_for(lock, task.stop(), std::chrono::milliseconds(300), [] { return false; });
    if (task.stop().stop_requested()) return Outcome::fail({"actor_error", "stopped", {}});
  }
  return Outcome::complete(R"("lift-off")");
}

int main(int argc, char** argv) {
  return run_main(argc, argv, [](Registry& actors) {
    actors.add("example.greet", greet, {.description = "Says hello to its input."});
    actors.add("example.count_down", count_down, {.queue = "rockets", .concurrency = 2});
  });
}
