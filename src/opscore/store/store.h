#pragma once
// The store: the truth about tasks. Small interfaces and a change feed; memory/, sqlite/ and
// postgres/ implement them, store/conformance holds all of them to the same behaviour.
//
// Every method may be called from any thread and blocks until its effect is durable (for the memory
// store: visible). They throw Error: unavailable (the store cannot be reached or written; nothing
// happened, or the caller finds out by reading back), disk_low (insert only), corrupt, internal.
// Times are by the store's clock, which is the Clock it was opened with.

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "opscore/base/task_key.h"
#include "opscore/base/time.h"
#include "opscore/model/fleet.h"
#include "opscore/model/plan.h"
#include "opscore/model/settings.h"
#include "opscore/model/submit.h"
#include "opscore/model/task.h"
#include "opscore/model/task_filter.h"
#include "opscore/store/jobs.h"
#include "opscore/store/outbox.h"
#include "opscore/store/retention.h"

namespace opscore {

enum class InsertMode : uint8_t {
  all_or_nothing,  // one refusal and nothing is inserted; the results say which
  per_item,        // a refusal leaves only its own item out
};

struct ClaimRequest {
  SessionId session;
  struct FromQueue {
    std::string queue;
    size_t max = 0;  // tasks
  };
  std::vector<FromQueue> queues;  // in the order in which they should be served
  // What the worker can run; absent types are skipped. Shared because it changes rarely and a claim
  // happens thousands of times a second.
  std::shared_ptr<const std::vector<std::string>> types;
  struct Room {
    std::vector<std::string> types;  // the names of one actor
    size_t max = 0;                  // tasks of them together
  };
  std::vector<Room> room;  // of actors with a limit
  size_t suspects = 1;     // how many suspect tasks at most
  // How long the answer may be put off while nothing is due. A store that can then claims a task in
  // the very commit that makes it due, and answers, perhaps with nothing, as soon as the change
  // feed has news for those who look for work. A store that cannot answers at once.
  Duration patience{0};
};

struct ClaimResult {
  std::vector<ClaimedTask> tasks;          // running now, in the order in which to start them
  std::vector<std::string> skipped_types;  // due, but not among request.types
  bool more = false;                       // more was due than was asked for
  std::optional<TimePoint> next_due_at;    // of what is scheduled
};

struct Promoted {
  size_t tasks = 0;
  std::optional<TimePoint> next_due_at;
};

struct ProgressUpdate {
  Lease lease;
  std::string progress;  // JSON
};

// The write path.
class TaskStore {
 public:
  virtual ~TaskStore() = default;

  // Task and keys in one transaction, and the handover_row() of what is run outside; one result per
  // item, in order.
  virtual std::vector<InsertResult> insert(std::vector<InsertItem> items, InsertMode mode) = 0;

  // Throws what every insert would throw at the moment, whatever it holds: disk_low.
  virtual void check_room() {}

  // Takes the best due tasks, by order_of(), of the queues that are not paused. The claim is
  // durable when this returns. Due tasks are claimable whether promoted or not; those that are run
  // outside never are.
  virtual ClaimResult claim(const ClaimRequest& request) = 0;

  // Writes decided changes, each guarded; one result per plan, in order.
  virtual std::vector<Applied> apply(std::vector<Plan> plans) = 0;

  // Makes scheduled tasks whose time has come pending, at most `limit`. What became pending before
  // the clock stepped back can be claimed at the latest when this returns. Nobody is told of those
  // that are run outside.
  virtual Promoted promote(size_t limit) = 0;

  // Fails unfinished tasks that are not running, nor run outside, and whose deadline passed. How
  // many.
  virtual size_t expire(size_t limit) = 0;

  // Ends a session (if it has not ended) and gives back what it holds, by decide_loss(). How many
  // attempts ended. Idempotent.
  virtual size_t rescue(const LostSession& lost) = 0;

  // Deletes finished tasks past their retention with all that belongs to them, looking at no more
  // than `limit` rows. How many were deleted.
  virtual size_t prune(const Retention& retention, size_t limit) = 0;

  // Keeps the last progress of running attempts; stale leases are ignored.
  virtual void record_progress(std::vector<ProgressUpdate> updates) = 0;

  // Journals one step of a running attempt. already_applied: the number is taken by this attempt.
  virtual Applied append_step(const Lease& lease, const Step& step) = 0;

  // Deletes tasks that are not running, nor run outside, with all that belongs to them. How many.
  virtual size_t remove(std::span<const TaskKey> keys) = 0;

  // Changes what is set about queues and actors; survives a restart, and holds from the next insert
  // and claim on. `change` is given all that is set, in one transaction, and may be called twice.
  //  * A paused queue gives out nothing; what runs goes on.
  //  * An insert beyond max_pending or max_input_bytes is refused; see refuse_by_limits().
  //  * A session is given no more of a queue than its concurrency, with what it runs of it already.
  //  * actor_concurrency is passed on to the sessions, with their next renewal.
  virtual void change_settings(const std::function<void(Settings&)>& change) = 0;
  void set_paused(const std::string& queue, bool paused) {
    change_settings([&](Settings& settings) { settings.queues[queue].paused = paused; });
  }
};

struct TaskPage {
  std::vector<Task> tasks;  // newest first
  // Of the same part of the list: what cannot be read, perhaps not even to be matched, and why.
  std::vector<std::pair<TaskKey, std::string>> corrupt;
  std::optional<TaskKey> next;  // pass as `before` for the next page
  bool partial = false;         // kListWalk rows were looked at: there may be more matches
};

// Reads see everything that was durable when they began.
class TaskReader {
 public:
  virtual ~TaskReader() = default;

  // From the public id, generated or the submitter's own.
  virtual std::optional<TaskKey> resolve(std::string_view id) = 0;
  virtual std::optional<Task> find(TaskKey key) = 0;
  // Tasks with key < before, newest first.
  virtual TaskPage list(const TaskFilter& filter, std::optional<TaskKey> before, size_t limit) = 0;
  virtual std::vector<Attempt> attempts(TaskKey key) = 0;
  // The stored, unusual events only, numbered from 1 in the order they were written; history.h in
  // engine/ merges them with what rows imply.
  virtual std::vector<TaskEvent> events(TaskKey key) = 0;
  virtual std::vector<Step> steps(TaskKey key) = 0;
  // The inputs a task has had, the submitted one first; size = edits + 1.
  virtual std::vector<std::string> inputs(TaskKey key) = 0;
  // The foreign message that a task was adopted from; nothing for other tasks.
  virtual std::optional<MessageOrigin> origin(TaskKey key) = 0;
  // Unfinished tasks that are run outside and whose external lease has run out, longest first.
  virtual std::vector<Task> doubtful(size_t limit) = 0;
  // Every queue that has tasks or settings, or has had tasks since the store was opened.
  virtual std::vector<QueueStats> queues() = 0;
};

class Fleet {
 public:
  virtual ~Fleet() = default;

  virtual SessionId open_session(const std::string& name, const std::string& context) = 0;
  // Keeps a session alive and stores its report (which also sets started_at of what it runs).
  virtual RenewReply renew(SessionId session, const SessionReport& report) = 0;
  // Sessions that have not ended, and those that ended within `ended_within`; newest first.
  virtual std::vector<Session> sessions(Duration ended_within) = 0;
  // Renews the external leases of these attempts: nobody doubts before `until` that they are in
  // good hands. Only of tasks that are run outside, while that attempt is their last.
  virtual void extend(std::span<const Lease> leases, TimePoint until) = 0;
  // Asks a session to do something at its next renewal.
  virtual void command(SessionId session, const std::string& command) = 0;
  virtual void announce_actors(const std::vector<CatalogueEntry>& entries) = 0;
  virtual std::vector<CatalogueEntry> catalogue() = 0;
  // Where a session runs, in full: a JSON object that replaces what was there. Of a session that is
  // gone nothing is kept.
  virtual void describe(SessionId session, const std::string& context) = 0;
  // The same, read; empty when nothing is known.
  virtual std::string context(SessionId session) = 0;
  // True while `session` is the one that runs maintenance. A leader that ends, or that has not
  // asked for a session TTL, is followed by the next live session that asks.
  virtual bool lead(SessionId session) = 0;
};

// A change feed. Positions only grow. It may repeat what was seen; it never skips: when the feed
// cannot go back as far as `since`, `reset` is set and the reader looks at everything it cares for.
struct ChangeBatch {
  uint64_t position = 0;  // pass as `since` next time
  bool reset = false;
  std::vector<std::string> queues;  // that have new tasks, due or scheduled, or were resumed
  std::vector<TaskKey> tasks;       // that finished or have a new event
  std::vector<SessionId> sessions;  // that have a cancel or a command waiting
};

class Changes {
 public:
  virtual ~Changes() = default;
  enum class Interest : uint8_t { work, tasks };  // queues and sessions, or tasks
  virtual uint64_t position() const = 0;
  // Returns at once when there is something after `since`, else waits. Empty after the deadline or
  // after interrupt().
  virtual ChangeBatch wait(uint64_t since, Interest interest, Deadline deadline) = 0;
  // Wakes every waiter once; for shutting down and for retargeting a wait.
  virtual void interrupt() = 0;
};

class Store {
 public:
  virtual ~Store() = default;
  virtual TaskStore& tasks() = 0;
  virtual TaskReader& reader() = 0;
  virtual Fleet& fleet() = 0;
  virtual Changes& changes() = 0;
  virtual Outbox& outbox() = 0;
  virtual Jobs& jobs() = 0;
  virtual const IdCodec& ids() const = 0;
  virtual const std::string& identity() const = 0;  // of the installation, for contexts

  // The public id of a task.
  std::string id_of(const Task& task) const {
    return task.options.id.empty() ? ids().encode(task.key) : task.options.id;
  }
  std::string id_of(const ClaimedTask& task) const {
    return task.options.id.empty() ? ids().encode(task.key) : task.options.id;
  }
};

}  // namespace opscore
