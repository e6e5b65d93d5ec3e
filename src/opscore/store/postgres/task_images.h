#pragma once
// Tasks as one transaction sees and changes them: loaded and locked together, changed in memory by
// plans, one after the other, and written together at the end.

#include <map>
#include <span>

#include "opscore/store/postgres/parts.h"
#include "opscore/store/postgres/settings_rows.h"
#include "opscore/store/postgres/task_rows.h"

namespace opscore::postgres {

// What ends makes room in a queue with a limit.
void note_room(Transaction& transaction, const KnownSettings& settings, const std::string& queue);
// What a plan that was applied leaves in the outbox.
void post_rows(Transaction& transaction, const Plan& plan);

class TaskImages {
 public:
  TaskImages(Parts& parts, Transaction& transaction) : parts_(parts), transaction_(transaction) {}

  // Locks and reads what is known about these tasks. Once.
  void load(const std::vector<TaskKey>& keys);
  // Nothing unless the task is unfinished.
  const LiveRow* live(TaskKey key) const;
  // What decisions need to know of a task: key, live and max_attempts; of a finished one, its
  // options.
  std::optional<Task> task(TaskKey key) const;
  // Of a loaded task.
  const TaskOptions& options(TaskKey key);

  // Both note what the world is told at the commit.
  Applied apply(const Plan& plan);
  bool erase(TaskKey key);  // false: it runs, or is run outside, or it is not there
  // Of a task that was changed elsewhere in this transaction.
  void append_events(const Plan& plan);
  // Nothing happens when the task is gone.
  void append_event(TaskKey key, const TaskEvent& event);

  // Sends all changes.
  void write();

 private:
  struct Image {
    LaneId lane = 0;
    int priority = 0;
    int max_attempts = 0;  // only of a finished task
    std::optional<LiveRow> live;
    std::optional<OutcomeRow> outcome;
    bool was_live = false, was_outcome = false, changed = false, erased = false;
    std::vector<std::pair<int, AttemptEnd>> ended;  // attempts that ended, as far as is known
  };
  void load_live(const std::vector<TaskKey>& keys);
  void load_outcomes(const std::vector<TaskKey>& keys);
  void note_options(TaskKey key, std::string_view text);
  const std::string& queue_of(const Image& image);
  Applied refuse(const Plan& plan, const Image& image);
  void apply_to_live(const Plan& plan, Image& image);
  void run_again(const Plan& plan, Image& image);
  void add_events(const Plan& plan);
  void delete_rows();
  void update_live(const LiveRow& row);
  void write_events();

  Parts& parts_;
  Transaction& transaction_;
  KnownSettings settings_;
  std::map<TaskKey, Image> images_;
  std::map<LaneId, Lane> lanes_;
  std::map<TaskKey, TaskOptions> options_;
  AttemptInsert attempts_;
  std::map<TaskKey, std::vector<TaskEvent>> events_;
};

}  // namespace opscore::postgres
