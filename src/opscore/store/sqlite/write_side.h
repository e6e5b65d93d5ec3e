#pragma once
// The write connection with everything that must change together with it: statements, the lists and
// counters in memory, the change feed. All of it belongs to the committer's thread between begin()
// and commit() or rollback(); memory follows the file, so a rollback undoes both.

#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "opscore/base/log.h"
#include "opscore/base/random.h"
#include "opscore/model/plan.h"
#include "opscore/store/memory/change_feed.h"
#include "opscore/store/sqlite/ready_list.h"
#include "opscore/store/sqlite/running_set.h"
#include "opscore/store/sqlite/tally.h"
#include "opscore/store/sqlite/task_rows.h"

namespace opscore::sqlite {

class WriteSide {
 public:
  WriteSide(const Clock& clock, Random& random, Log& log, Connection& db, Lanes& lanes,
            ChangeFeed& feed, bool announce);

  // Reads counters, unfinished tasks, paused queues and live sessions.
  void load();

  void begin();
  void commit();  // throws, and then rollback() must follow
  void rollback();

  // A new row of `live`, and the row leaving its state: lists and counters follow.
  void enter(const LiveRow& row);
  void leave(const LiveRow& row);
  // Changes a task as decided, guarded. Texts of the plan must live until the statements ran.
  Applied apply(const Plan& plan);
  // Deletes a task that is not running, nor run outside; false when there is no such task.
  bool erase(TaskKey key);

  void note_task(TaskKey key) { change_.tasks.push_back(key); }
  void note_session(SessionId session) { change_.sessions.push_back(session); }
  // This transaction has something for those who look for work.
  bool has_work_news() const { return !due_.empty() || !change_.sessions.empty(); }
  void note_queue(QueueId queue, size_t due);
  void post(const OutboxRow& row);

  bool alive(SessionId session) const { return sessions_.contains(session.value); }
  void session_opened(SessionId session);
  void session_ended(SessionId session);
  // Whether it is the one that runs maintenance: the first to ask while there is none, or while the
  // last one has not asked for a session TTL.
  bool lead(SessionId session);

  const Settings& settings() const { return settings_; }
  // Those whose settings differ are news.
  void set_settings(Settings settings);
  bool has_queue_settings() const { return !queue_settings_.empty(); }
  // What is set about a queue; null for most. The pointer holds until the next set_settings().
  const QueueSettings* settings_of(QueueId queue) const {
    if (queue_settings_.empty()) return nullptr;
    auto found = queue_settings_.find(queue);
    return found == queue_settings_.end() ? nullptr : &found->second;
  }
  // Queues with settings and those that have or had tasks.
  std::set<QueueId> known_queues() const;

  const Clock& clock;
  Random& random;
  Log& log;
  Connection& db;
  Lanes& lanes;
  TaskQueries queries;
  TaskEdits edits;
  ReadyList ready;
  RunningSet running;
  Tally tally;
  KeyMaker keys;

 private:
  bool finish_fast(const Plan& plan);
  Applied refuse(const Plan& plan);
  Applied apply_to_live(const Plan& plan, const LiveRow& row);
  Applied apply_to_outcome(const Plan& plan, const OutcomeRow& row);
  void insert_outcome(const Plan& plan);
  void end_attempt(const Plan& plan);
  void add_events(const Plan& plan, bool finished);
  void load_live();
  void use(const Settings& settings);
  void note_room(QueueId queue);
  void flush_outbox();

  ChangeFeed& feed_;
  const bool announce_;
  std::unordered_set<int64_t> sessions_;  // that have not ended
  SessionId leader_;
  SteadyPoint led_at_{};  // when the leader last asked
  Settings settings_;
  std::unordered_map<QueueId, QueueSettings> queue_settings_;  // of settings_, for the hot path
  std::optional<Settings> settings_before_;                    // undone by rollback()
  std::vector<std::pair<SessionId, bool>> sessions_before_;    // likewise
  Change change_;
  std::map<std::string, size_t> due_;  // tasks that became due in this transaction, by queue
  Statement insert_outbox_;
  Statement begin_;
  Statement commit_;
};

}  // namespace opscore::sqlite
