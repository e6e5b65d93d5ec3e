#pragma once
// What a slot gives its actor: the task, its stop token, progress, and the journal of steps.

#include "opscore/actor/actor.h"
#include "opscore/base/mutex.h"
#include "opscore/store/store.h"

namespace opscore {

// The last progress of one running attempt, written by the actor, collected by the runner.
class ProgressBox {
 public:
  void put(std::string json);
  std::optional<std::string> take();  // nothing when unchanged since

 private:
  Mutex mutex_;
  std::optional<std::string> value_ OPSCORE_GUARDED_BY(mutex_);
};

class SlotContext final : public TaskContext {
 public:
  struct Parts {
    const ClaimedTask& task;
    Store& store;
    const Clock& clock;
    Log& log;
    std::stop_token stop;
    Deadline deadline;
    ProgressBox& progress;
    std::function<void()> on_progress;
  };
  explicit SlotContext(Parts parts) : parts_(std::move(parts)) {}

  const std::string& id() const override;
  const std::string& type() const override { return parts_.task.type; }
  const std::string& input() const override { return parts_.task.input; }
  int attempt() const override { return parts_.task.live.attempt; }
  std::stop_token stop() const override { return parts_.stop; }
  Deadline deadline() const override { return parts_.deadline; }
  const Clock& clock() const override { return parts_.clock; }
  void progress(std::string json) override;
  void log(LogLevel level, std::string_view line) override;
  void notice(Notice notice) override;
  std::string step(const std::string& kind, const std::string& name, const std::string& request,
                   const std::function<std::string()>& action) override;

  std::vector<Notice> take_notices() { return std::move(notices_); }

 private:
  Parts parts_;
  std::vector<Notice> notices_;
  mutable std::string id_;  // made when first asked for
  void read_journal();
  std::optional<std::vector<Step>> journal_;  // of this input; read at the first step
  int steps_before_ = 0;                      // those of earlier inputs, which are not replayed
  size_t next_step_ = 0;
};

}  // namespace opscore
