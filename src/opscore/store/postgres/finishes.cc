// Decided changes. Most complete a task whose row nobody needs to read: the guarded delete says it
// all. Everything else is read, changed and written by TaskImages.

#include <algorithm>
#include <map>
#include <set>

#include "opscore/store/postgres/task_images.h"

namespace opscore::postgres {
namespace {

constexpr Statement kDeleteRunning{
    "delete_running",
    "DELETE FROM live WHERE key = ANY($1::bigint[]) AND attempt = $2::bigint AND state + 0 = 3 "
    "RETURNING key, lane"};

struct Request {
  const std::vector<Plan>& plans;
  std::vector<Applied> results;
};

class Finishing {
 public:
  Finishing(Parts& parts, Transaction& transaction) : parts_(parts), transaction_(transaction) {}

  void run(std::span<void* const> requests) {
    for (void* each : requests) {
      Request& request = *static_cast<Request*>(each);
      request.results.assign(request.plans.size(), Applied::lease_lost);
      for (size_t i = 0; i < request.plans.size(); ++i)
        all_.push_back({&request.plans[i], &request.results[i], false});
    }
    complete();
    apply_the_rest();
  }

 private:
  struct Item {
    const Plan* plan;
    Applied* result;
    bool done;
  };

  // Of tasks that only one plan is about, so that plans for one task keep their order.
  void complete() {
    std::map<TaskKey, int> plans_of;
    for (const Item& item : all_) ++plans_of[item.plan->key];
    std::map<int, std::vector<Item*>> by_attempt;
    for (Item& item : all_)
      if (item.plan->next == State::completed && item.plan->expected == State::running &&
          plans_of[item.plan->key] == 1)
        by_attempt[item.plan->attempt].push_back(&item);
    std::vector<size_t> answers;
    for (const auto& [attempt, items] : by_attempt) {
      Array keys = Array::numbers();
      for (const Item* item : items) keys.add(item->plan->key);
      answers.push_back(transaction_.send(kDeleteRunning, Parameters::of(keys, int64_t{attempt})));
    }
    if (answers.empty()) return;
    SettingsQuery query = send_settings(transaction_);
    transaction_.flush();
    settings_ = read_settings(transaction_, query);
    std::map<TaskKey, LaneId> deleted;
    for (size_t answer : answers) {
      const Rows& rows = transaction_.rows(answer);
      for (int i = 0; i < rows.size(); ++i)
        deleted[TaskKey{rows.integer(i, 0)}] = rows.integer(i, 1);
    }
    OutcomeInsert outcomes;
    for (const auto& [attempt, items] : by_attempt)
      for (Item* item : items)
        if (auto found = deleted.find(item->plan->key); found != deleted.end())
          record(*item, found->second, outcomes);
    if (outcomes.size() > 0) transaction_.send(OutcomeInsert::statement(), outcomes.parameters());
  }

  void record(Item& item, LaneId lane, OutcomeInsert& outcomes) {
    const Plan& plan = *item.plan;
    outcomes.add(OutcomeRow::of(plan));
    if (!plan.events.empty()) with_events_.push_back(&plan);
    post_rows(transaction_, plan);
    transaction_.note_task(plan.key);
    std::string queue = parts_.lanes.lane(transaction_, lane).queue;
    transaction_.count(queue, State::completed, 1);
    note_room(transaction_, settings_, queue);
    *item.result = Applied::applied;
    item.done = true;
  }

  void apply_the_rest() {
    TaskImages images(parts_, transaction_);
    std::set<TaskKey> keys;
    for (const Item& item : all_)
      if (!item.done) keys.insert(item.plan->key);
    if (!keys.empty()) images.load({keys.begin(), keys.end()});
    for (Item& item : all_)
      if (!item.done) *item.result = images.apply(*item.plan);
    for (const Plan* plan : with_events_) images.append_events(*plan);
    images.write();
  }

  Parts& parts_;
  Transaction& transaction_;
  Settings settings_;
  std::vector<Item> all_;
  std::vector<const Plan*> with_events_;
};

void finish_all(void* parts, Transaction& transaction, std::span<void* const> requests) {
  Finishing(*static_cast<Parts*>(parts), transaction).run(requests);
}

}  // namespace

std::vector<Applied> PostgresTasks::apply(std::vector<Plan> plans) {
  if (plans.empty()) return {};
  Request request{plans, {}};
  parts_.writers.run_shared("apply", finish_all, &parts_, &request, plans.size());
  return std::move(request.results);
}

}  // namespace opscore::postgres
