// New tasks. Keys that must be unique are looked up, then written; who loses the race for one to a
// transaction on another connection is told by the primary key, and does the whole batch again.

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "opscore/model/decide.h"
#include "opscore/model/handover.h"
#include "opscore/store/insert_one_by_one.h"
#include "opscore/store/postgres/parts.h"
#include "opscore/store/postgres/settings_rows.h"
#include "opscore/store/postgres/task_rows.h"

namespace opscore::postgres {
namespace {

constexpr Statement kTakenKeys{
    "taken_keys",
    "SELECT k.kind, k.scope, k.key, k.task, k.hash, coalesce(l.state, o.state) "
    "FROM unnest($1::bigint[], $2::text[], $3::text[]) x(kind, scope, key) "
    "JOIN keys k ON k.kind = x.kind AND k.scope = x.scope AND k.key = x.key "
    "LEFT JOIN live l ON l.key = k.task LEFT JOIN outcomes o ON o.key = k.task"};
constexpr Statement kInsertTasks{
    "insert_tasks",
    "INSERT INTO tasks(key, run_at, lane, max_attempts, priority, input, options) "
    "SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], "
    "$6::text[], $7::text[])"};
constexpr Statement kInsertKeys{
    "insert_keys",
    "INSERT INTO keys(kind, scope, key, task, hash) SELECT * FROM unnest($1::bigint[], "
    "$2::text[], $3::text[], $4::bigint[], $5::bytea[]) u(kind, scope, key, task, hash) "
    "ORDER BY kind, scope, key"};  // so that two batches wait for each other in one order
constexpr Statement kInsertOrigins{
    "insert_origins",
    "INSERT INTO origins SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[])"};

constexpr Statement kHoldQueue{
    "hold_queue",
    "SELECT pg_advisory_xact_lock(hashtext(current_schema || ':queue'), hashtext($1::text))"};
constexpr Statement kWaiting{"waiting_in_queue",
                             "SELECT count(*) FROM live WHERE lane IN (SELECT lane FROM lanes "
                             "WHERE queue = $1::text) AND state + 0 IN (0, 2)"};

// What one caller wants inserted, and what became of it.
struct Request {
  std::span<const InsertItem> items;
  InsertMode mode;
  std::vector<InsertResult> results;
};

using KeyName = std::tuple<UniqueKey::Kind, std::string, std::string>;

KeyName name_of(const UniqueKey& key) {
  return {key.kind, key.scope, key.key};
}

class Inserting {
 public:
  Inserting(Parts& parts, Transaction& transaction) : parts_(parts), transaction_(transaction) {}

  void run(std::span<void* const> requests) {
    std::vector<Request*> all;
    for (void* request : requests) all.push_back(static_cast<Request*>(request));
    prepare(all);
    for (Request* request : all) resolve(*request);
    write();
  }

 private:
  struct New {
    const InsertItem* item;
    TaskKey key;
    std::string id;  // of the submitter, perhaps derived
    std::vector<UniqueKey> keys;
    Live live;
  };

  void prepare(const std::vector<Request*>& requests) {
    std::set<Lanes::Name> lanes;
    size_t count = 0;
    std::set<KeyName> names;
    for (const Request* request : requests)
      for (const InsertItem& item : request->items) {
        lanes.insert({item.spec.queue, item.spec.type});
        ++count;
        for (const UniqueKey& key : item.keys) {
          names.insert(name_of(key));
          if (item.on_conflict == InsertItem::OnConflict::derive_id &&
              key.kind == UniqueKey::Kind::task_id)
            names.insert({key.kind, "", derived_task_id(item.message_id)});
        }
      }
    if (count == 0) return;
    fresh_keys_ = parts_.home.make_keys(count, transaction_.now());
    parts_.lanes.intern(transaction_.outside(), lanes);
    parts_.partitions.ensure(transaction_.outside(), day_of(fresh_keys_.front()),
                             day_of(fresh_keys_.back()));
    known_ = parts_.settings.of(transaction_);
    expect_same(transaction_, *known_);
    hold_limited_queues(lanes);
    if (!names.empty()) look_up(names);
  }

  // Whoever adds to a queue with room for so many only, does it alone.
  void hold_limited_queues(const std::set<Lanes::Name>& lanes) {
    std::set<std::string> limited;
    for (const auto& [queue, type] : lanes)
      if (limits_of(queue).in_force(&QueueLimits::max_pending) != kUnlimited) limited.insert(queue);
    for (const std::string& queue : limited) {
      transaction_.query(kHoldQueue, Parameters::of(queue));
      waiting_[queue] = transaction_.query(kWaiting, Parameters::of(queue)).integer(0, 0);
    }
  }

  LayeredLimits limits_of(const std::string& queue) const {
    return known_->settings.of_queue(queue).limits;
  }

  void look_up(const std::set<KeyName>& names) {
    Array kinds = Array::numbers(), scopes = Array::texts(), keys = Array::texts();
    for (const auto& [kind, scope, key] : names) {
      kinds.add(static_cast<int64_t>(kind));
      scopes.add(scope);
      keys.add(key);
    }
    Rows rows = transaction_.query(kTakenKeys, Parameters::of(kinds, scopes, keys));
    for (int i = 0; i < rows.size(); ++i) {
      if (rows.is_null(i, 5))
        throw Error(Errc::corrupt, fmt::format("key '{}' belongs to no task", rows.text(i, 2)));
      taken_[{static_cast<UniqueKey::Kind>(rows.integer(i, 0)), std::string(rows.text(i, 1)),
              std::string(rows.text(i, 2))}] = {TaskKey{rows.integer(i, 3)},
                                                std::string(rows.text(i, 4)),
                                                static_cast<State>(rows.integer(i, 5))};
    }
  }

  void resolve(Request& request) {
    request.results.clear();
    size_t first = new_.size();
    bool refused = false;
    for (const InsertItem& item : request.items) {
      request.results.push_back(resolve(item));
      refused |= request.results.back().refused();
    }
    if (!refused || request.mode != InsertMode::all_or_nothing) return;
    for (InsertResult& result : request.results)
      for (size_t i = first; i < new_.size(); ++i)
        if (result.key == new_[i].key) result.key = TaskKey{};
    for (size_t i = first; i < new_.size(); ++i) {
      for (const UniqueKey& key : new_[i].keys) taken_.erase(name_of(key));
      waiting_[new_[i].item->spec.queue] -= new_[i].live.state != State::waiting;
    }
    new_.resize(first);
  }

  InsertResult resolve(const InsertItem& item) {
    New task{&item, {}, item.spec.options.id, item.keys, {}};
    if (item.on_conflict == InsertItem::OnConflict::derive_id) {
      // A message that was adopted before is the same task, under whichever id it got.
      for (const UniqueKey& key : item.keys)
        if (key.kind == UniqueKey::Kind::message_id)
          if (auto found = taken_.find(name_of(key)); found != taken_.end())
            return replay_of(found->second);
      for (UniqueKey& key : task.keys)
        if (key.kind == UniqueKey::Kind::task_id && taken_.contains(name_of(key)))
          task.id = key.key = derived_task_id(item.message_id);
    }
    for (const UniqueKey& key : task.keys)
      if (auto found = taken_.find(name_of(key)); found != taken_.end())
        return answer_taken(item, key, found->second);
    int64_t& waiting = waiting_[item.spec.queue];
    if (auto refused =
            refuse_by_limits(limits_of(item.spec.queue), waiting, item.spec.input.size()))
      return *refused;
    task.key = fresh_keys_[used_++];
    task.live = decide_submit(item.spec, transaction_.now());
    waiting += task.live.state != State::waiting;
    for (const UniqueKey& key : task.keys)
      taken_[name_of(key)] = {task.key, item.request_hash, task.live.state};
    new_.push_back(std::move(task));
    return {InsertResult::Kind::inserted, new_.back().key, new_.back().live.state, {}};
  }

  void write() {
    if (new_.empty()) return;
    write_tasks();
    write_keys();
    write_origins();
    for (const New& task : new_) {
      const TaskSpec& spec = task.item->spec;
      transaction_.note_queue(spec.queue, task.live, order_of(task.live.run_at, spec.priority));
      if (!task.live.claimable())
        transaction_.post(
            handover_row(task.key, spec.queue, task.live.attempt, transaction_.now()));
    }
  }

  void write_tasks() {
    Array keys = Array::numbers(), run_at = Array::numbers(), lanes = Array::numbers(),
          attempts = Array::numbers(), priorities = Array::numbers(), inputs = Array::texts(),
          options = Array::texts();
    LiveInsert live;
    for (const New& task : new_) {
      const TaskSpec& spec = task.item->spec;
      LaneId lane = parts_.lanes.id(spec.queue, spec.type);
      keys.add(task.key);
      run_at.add(spec.run_at);
      lanes.add(lane);
      attempts.add(int64_t{spec.max_attempts});
      priorities.add(int64_t{spec.priority});
      inputs.add(spec.input);
      options.add(or_null(encoded(task)));
      live.add({task.key, lane, spec.priority, task.live, expiry_of(spec.options), {}});
    }
    transaction_.send(kInsertTasks,
                      Parameters::of(keys, run_at, lanes, attempts, priorities, inputs, options));
    transaction_.send(LiveInsert::statement(), live.parameters());
  }

  static std::string encoded(const New& task) {
    TaskOptions options = task.item->spec.options;
    if (task.id != options.id) take_derived_id(options, task.item->message_id);
    return options.empty() ? std::string() : encode_options(options);
  }

  void write_keys() {
    Array kinds = Array::numbers(), scopes = Array::texts(), names = Array::texts(),
          tasks = Array::numbers(), hashes = Array::bytes();
    for (const New& task : new_)
      for (const UniqueKey& key : task.keys) {
        kinds.add(static_cast<int64_t>(key.kind));
        scopes.add(key.scope);
        names.add(key.key);
        tasks.add(task.key);
        hashes.add(task.item->request_hash);
      }
    if (kinds.size() > 0)
      transaction_.send(kInsertKeys, Parameters::of(kinds, scopes, names, tasks, hashes));
  }

  void write_origins() {
    Array keys = Array::numbers(), ids = Array::texts(), bodies = Array::bytes();
    for (const New& task : new_) {
      if (task.item->origin.empty()) continue;
      keys.add(task.key);
      ids.add(task.item->message_id);
      bodies.add(task.item->origin);
    }
    if (keys.size() > 0) transaction_.send(kInsertOrigins, Parameters::of(keys, ids, bodies));
  }

  Parts& parts_;
  Transaction& transaction_;
  std::shared_ptr<const KnownSettings> known_;
  std::map<std::string, int64_t> waiting_;  // of queues with a limit, with this batch
  std::vector<TaskKey> fresh_keys_;
  size_t used_ = 0;
  std::map<KeyName, TakenKey> taken_;  // also by tasks of this batch
  std::vector<New> new_;
};

class InsertingTogether final : public Writers::Shared {
 public:
  explicit InsertingTogether(Parts& parts) : parts_(parts) {}
  void act(Transaction& transaction, std::span<void* const> requests) override {
    Inserting(parts_, transaction).run(requests);
  }

 private:
  Parts& parts_;
};

}  // namespace

std::unique_ptr<Writers::Shared> make_inserting(Parts& parts) {
  return std::make_unique<InsertingTogether>(parts);
}

std::vector<InsertResult> PostgresTasks::insert(std::vector<InsertItem> items, InsertMode mode) {
  if (items.empty()) return {};
  Deadline deadline = Deadline::after(parts_.timeout);
  parts_.home.ensure(deadline);
  auto insert_some = [&](std::span<const InsertItem> some) {
    Request request{some, mode, {}};
    parts_.writers.run_shared("insert", *inserting_, &request, some.size());
    return std::move(request.results);
  };
  try {
    return insert_some(items);
  } catch (const Error& error) {
    if (mode == InsertMode::all_or_nothing || items.size() == 1 || !may_concern_one(error)) throw;
    return insert_one_by_one(items, [&](const InsertItem& item) {
      if (deadline.passed()) throw no_time_to_try(error);
      return std::move(insert_some({&item, 1})[0]);
    });
  }
}

}  // namespace opscore::postgres
