#pragma once
// The rows of the memory store and the order they are claimed in. One map of whole tasks, two
// ordered sets beside it; every change of state comes from decide() as a Plan. Not thread-safe: it
// lives under the store's mutex.

#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "opscore/model/submit.h"
#include "opscore/model/task_filter.h"
#include "opscore/store/memory/change_feed.h"

namespace opscore {

struct TaskRow {
  TaskKey key;
  TaskSpec spec;  // but for the input, which is inputs.front()
  std::vector<std::string> inputs;
  MessageOrigin origin;
  Live live;
  std::string progress;
  std::vector<Attempt> ended;  // attempts, the final one last
  std::string result;
  ErrorInfo error;  // of a finished task
  std::optional<TimePoint> finished_at;
  std::vector<TaskEvent> events;
  std::vector<Step> steps;
  std::vector<UniqueKey> keys;

  std::vector<Attempt> attempts() const;  // with the running one
  Task task() const;
  bool due(TimePoint now) const;  // to be claimed: pending, or scheduled and its time has come
  bool past_deadline(TimePoint now) const;
  bool matches(const TaskFilter& filter) const;  // but for the time range
};

// What a transaction has to tell others once it is visible.
struct Effects {
  Change change;
  std::map<std::string, size_t> due;  // tasks that became pending, by queue
  std::vector<OutboxRow> outbox;

  // A task of the queue became this. What is scheduled is news, too: it may be due before anything
  // that waiters know of.
  void note_queue(const std::string& queue, const Live& live) {
    if (live.claimable() && (live.state == State::pending || live.state == State::scheduled))
      due[queue] += live.state == State::pending ? 1 : 0;
  }
};

class TaskTable {
 public:
  struct Place {  // in a queue
    int64_t order = 0;
    TaskKey key;
    auto operator<=>(const Place&) const = default;
  };
  struct DueAt {
    TimePoint run_at;
    TaskKey key;
    auto operator<=>(const DueAt&) const = default;
  };

  InsertResult insert(InsertItem item, const LayeredLimits& limits, TimePoint now,
                      Effects& effects);
  Applied apply(Plan plan, Effects& effects);
  void claim(TaskRow& row, SessionId session, TimePoint now);
  void erase(TaskKey key, Effects& effects);

  // Numbers the event within the task.
  static void add_event(TaskRow& row, TaskEvent event, Effects& effects);

  TaskRow* find(TaskKey key);
  // The row whose running attempt the lease names, or null.
  TaskRow* find_running(const Lease& lease);
  std::optional<TaskKey> find_id(const std::string& id) const;
  std::map<TaskKey, TaskRow>& rows() { return rows_; }
  // Pending and scheduled tasks of a queue, best first.
  const std::set<Place>& open(const std::string& queue) { return open_[queue]; }
  const std::set<DueAt>& scheduled() const { return scheduled_; }
  // Tasks whose running attempt a session holds.
  const std::set<TaskKey>& held_by(SessionId session) { return held_[session]; }

 private:
  using KeyName = std::tuple<UniqueKey::Kind, std::string, std::string>;
  struct KeyOwner {
    TaskKey by;
    std::string hash;
  };
  static KeyName name_of(const UniqueKey& key) { return {key.kind, key.scope, key.key}; }
  TakenKey taken(const KeyOwner& owner) const;
  std::optional<InsertResult> find_adopted(const InsertItem& item) const;
  std::optional<InsertResult> find_taken(const InsertItem& item) const;
  void derive_id_if_taken(InsertItem& item) const;
  void enter(TaskRow& row);  // into the sets that its state belongs to
  void leave(TaskRow& row);
  void note(TaskRow& row, Plan& plan, Effects& effects);

  KeyMaker maker_{0, TaskKey{}};
  std::map<TaskKey, TaskRow> rows_;
  std::map<std::string, std::set<Place>> open_;
  std::set<DueAt> scheduled_;
  std::map<SessionId, std::set<TaskKey>> held_;
  std::map<KeyName, KeyOwner> keys_;
};

}  // namespace opscore
