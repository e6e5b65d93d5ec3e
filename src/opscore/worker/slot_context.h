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

// The journal of one attempt: what earlier attempts recorded is replayed in its order. Used by one
// thread at a time.
class TaskJournal {
 public:
  // What it is asked for is the task's next step. `task` and the store must outlive it.
  TaskJournal(const ClaimedTask& task, Store& store) : task_(task), store_(store) {}

  // The recorded answer; nothing: it is to be done, and then recorded. Throws JournalMismatch when
  // the journal has another step at this place.
  std::optional<std::string> next(const std::string& kind, const std::string& name,
                                  const std::string& request);
  // Of the step that was asked for last, among all of the task.
  int number() const { return steps_before_ + static_cast<int>(next_); }
  // That step was not done, and may be asked for again.
  void withdraw() { --next_; }
  // Throws Error when it cannot be recorded.
  void record(const std::string& kind, const std::string& name, const std::string& request,
              const std::string& answer, TimePoint at, Duration took);

 private:
  void read();

  const ClaimedTask& task_;
  Store& store_;
  std::optional<std::vector<Step>> steps_;  // of this input; read at the first step
  int steps_before_ = 0;                    // those of earlier inputs, which are not replayed
  size_t next_ = 0;
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
  explicit SlotContext(Parts parts)
      : parts_(std::move(parts)), journal_(parts_.task, parts_.store) {}

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
  TaskJournal journal_;
};

}  // namespace opscore
