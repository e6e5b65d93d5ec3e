// Decided changes. Most complete a task whose row nobody needs to read: the guarded delete says it
// all, and one statement does everything, in one round trip. Everything else is read, changed and
// written by TaskImages.

#include <algorithm>
#include <map>
#include <set>

#include "opscore/model/adoption.h"
#include "opscore/model/webhook.h"
#include "opscore/store/postgres/task_images.h"

namespace opscore::postgres {
namespace {

constexpr Statement kComplete{
    "complete",
    "WITH gone AS (DELETE FROM live l WHERE l.key = ANY($1::bigint[]) AND l.attempt = $11::bigint "
    "AND l.state + 0 = 3 RETURNING l.key, l.lane), "
    "done AS (INSERT INTO outcomes(key, session, claimed, started, finished, attempt, charged, "
    "edits, state, ended, ended_charged, result) SELECT u.key, u.session, u.claimed, u.started, "
    "u.finished, $11::bigint, u.charged, u.edits, 4, u.ended, u.ended_charged <> 0, u.result "
    "FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], "
    "$6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::text[]) "
    "u(key, session, claimed, started, finished, charged, edits, ended, ended_charged, result) "
    "JOIN gone g ON g.key = u.key), "
    "counted AS (INSERT INTO counters SELECT n.queue, count(*), 0, 0 FROM gone g "
    "JOIN lanes n ON n.lane = g.lane GROUP BY n.queue) "
    "SELECT key FROM gone"};
// Which of these the transaction completed whose answer was lost.
constexpr Statement kRecall{"recall_completed",
                            "SELECT o.key FROM outcomes o WHERE o.key = ANY($1::bigint[]) AND "
                            "o.xmin = (SELECT w.xmin FROM writers w WHERE w.id = $2::bigint)"};

struct Request {
  std::vector<const Plan*> plans;
  std::vector<Applied> results;  // of each; what was not completed is lease_lost

  explicit Request(std::vector<const Plan*> wanted)
      : plans(std::move(wanted)), results(plans.size(), Applied::lease_lost) {}
};

bool only_completes(const Plan& plan) {
  return plan.next == State::completed && plan.expected == State::running && plan.ended &&
         plan.events.empty() && plan.outbox.empty() && !webhook_row(plan) && !adopted_row(plan);
}

// Completes running tasks, each with one plan at most; says of the others that the lease is lost.
class Completing final : public Writers::Shared {
 public:
  explicit Completing(Parts& parts) : parts_(parts) {}

  void act(Transaction& transaction, std::span<void* const> requests) override {
    auto known = parts_.settings.of(transaction);
    expect_same(transaction, *known);
    std::vector<size_t> answers;
    for (auto& [attempt, finishes] : by_attempt(requests, transaction))
      answers.push_back(transaction.send(kComplete, finishes.parameters(attempt)));
    // What ends makes room. Nobody knows yet which queues these tasks are of.
    for (const auto& [queue, set] : known->settings.queues)
      if (known->limits_concurrency(queue)) transaction.note_room(queue);
    transaction.commit();
    std::set<TaskKey> completed;
    for (size_t answer : answers) collect(transaction.rows(answer), completed);
    answer(requests, completed);
  }

  void recall(Connection& connection, Mark mark, std::span<void* const> requests) override {
    Array keys = Array::numbers();
    for (void* request : requests)
      for (const Plan* plan : static_cast<Request*>(request)->plans) keys.add(plan->key);
    std::set<TaskKey> completed;
    collect(connection.query(kRecall, Parameters::of(keys, mark.writer)), completed);
    answer(requests, completed);
  }

 private:
  // The columns of outcomes that differ.
  struct Finishes {
    Array keys = Array::numbers(), sessions = Array::numbers(), claimed = Array::numbers(),
          started = Array::numbers(), finished = Array::numbers(), charged = Array::numbers(),
          edits = Array::numbers(), ended = Array::numbers(), ended_charged = Array::numbers(),
          results = Array::texts();

    void add(const Plan& plan) {
      keys.add(plan.key);
      sessions.add(or_null(plan.worker));
      claimed.add(or_null(plan.claimed_at));
      started.add(or_null(plan.started_at));
      finished.add(plan.at);
      charged.add(int64_t{plan.live.charged});
      edits.add(int64_t{plan.live.edits});
      ended.add(static_cast<int64_t>(*plan.ended));
      ended_charged.add(int64_t{plan.charged});
      results.add(or_null(plan.result));
    }
    Parameters parameters(int attempt) const {
      return Parameters::of(keys, sessions, claimed, started, finished, charged, edits, ended,
                            ended_charged, results, int64_t{attempt});
    }
  };

  // Of several requests for one task the first is served.
  static std::map<int, Finishes> by_attempt(std::span<void* const> requests,
                                            Transaction& transaction) {
    std::map<int, Finishes> finishes;
    std::set<TaskKey> seen;
    for (void* request : requests)
      for (const Plan* plan : static_cast<Request*>(request)->plans) {
        if (!seen.insert(plan->key).second) continue;
        finishes[plan->attempt].add(*plan);
        transaction.note_task(plan->key);
      }
    return finishes;
  }

  static void collect(const Rows& rows, std::set<TaskKey>& completed) {
    for (int i = 0; i < rows.size(); ++i) completed.insert(TaskKey{rows.integer(i, 0)});
  }

  static void answer(std::span<void* const> requests, std::set<TaskKey>& completed) {
    for (void* each : requests) {
      Request& request = *static_cast<Request*>(each);
      for (size_t i = 0; i < request.plans.size(); ++i)
        request.results[i] =
            completed.erase(request.plans[i]->key) == 1 ? Applied::applied : Applied::lease_lost;
    }
  }

  Parts& parts_;
};

class Changing final : public Writers::Shared {
 public:
  explicit Changing(Parts& parts) : parts_(parts) {}

  void act(Transaction& transaction, std::span<void* const> requests) override {
    TaskImages images(parts_, transaction);
    std::set<TaskKey> keys;
    for (void* request : requests)
      for (const Plan* plan : static_cast<Request*>(request)->plans) keys.insert(plan->key);
    images.load({keys.begin(), keys.end()});
    for (void* each : requests) {
      Request& request = *static_cast<Request*>(each);
      for (size_t i = 0; i < request.plans.size(); ++i)
        request.results[i] = images.apply(*request.plans[i]);
    }
    images.write();
  }

 private:
  Parts& parts_;
};

}  // namespace

std::unique_ptr<Writers::Shared> make_completing(Parts& parts) {
  return std::make_unique<Completing>(parts);
}

std::unique_ptr<Writers::Shared> make_changing(Parts& parts) {
  return std::make_unique<Changing>(parts);
}

std::vector<Applied> PostgresTasks::apply(std::vector<Plan> plans) {
  // Plans for one task keep their order: only what is the one plan for its task is taken first.
  std::map<TaskKey, int> plans_of;
  for (const Plan& plan : plans) ++plans_of[plan.key];
  std::vector<const Plan*> completes, rest;
  for (const Plan& plan : plans)
    if (only_completes(plan) && plans_of[plan.key] == 1) completes.push_back(&plan);
  Request complete(std::move(completes));
  if (!complete.plans.empty())
    parts_.writers.run_shared("apply", *completing_, &complete, complete.plans.size());

  std::vector<Applied> results(plans.size(), Applied::lease_lost);
  std::vector<size_t> places;  // in results, of the rest
  size_t next = 0;
  for (size_t i = 0; i < plans.size(); ++i) {
    bool tried = next < complete.plans.size() && complete.plans[next] == &plans[i];
    if (tried) results[i] = complete.results[next++];
    if (tried && results[i] == Applied::applied) continue;
    rest.push_back(&plans[i]);
    places.push_back(i);
  }
  if (rest.empty()) return results;
  Request change(std::move(rest));
  parts_.writers.run_shared("apply", *changing_, &change, change.plans.size());
  for (size_t i = 0; i < places.size(); ++i) results[places[i]] = change.results[i];
  return results;
}

}  // namespace opscore::postgres
