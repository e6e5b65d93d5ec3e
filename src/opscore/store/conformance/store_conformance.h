#pragma once
// The behaviour that every store has, as test suites over a factory. A store takes part with
//
//   INSTANTIATE_STORE_CONFORMANCE(sqlite, sqlite_factory());
//
// in its own test file. Stores differ by what their factory can do (reopen or not), never by name.

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "opscore/base/random.h"
#include "opscore/model/adoption.h"
#include "opscore/model/decide.h"
#include "opscore/model/handover.h"
#include "opscore/model/report.h"
#include "opscore/model/webhook.h"
#include "opscore/store/store.h"

namespace opscore {

struct StoreFactory {
  using Open = std::function<std::unique_ptr<Store>(const Clock&, Random&)>;
  std::string name;
  Open open;             // a new, empty store
  Open open_announcing;  // the same, and it writes token rows to the outbox
  Open reopen;           // the store that `open` made last, closed since; null: not durable
  // Has the database of that store refuse tasks with this input, with "not this one"; null: it
  // takes everything.
  std::function<void(const std::string& input)> refuse = nullptr;
};

inline void PrintTo(const StoreFactory& factory, std::ostream* out) {
  *out << factory.name;
}

inline void PrintTo(TaskKey key, std::ostream* out) {
  *out << "key " << key.value;
}
inline void PrintTo(State state, std::ostream* out) {
  *out << to_string(state);
}
void PrintTo(Applied applied, std::ostream* out);
void PrintTo(InsertResult::Kind kind, std::ostream* out);

// A store on a fake clock with one session, and short words for what tests do all the time.
class StoreConformance : public testing::TestWithParam<StoreFactory> {
 protected:
  StoreConformance();

  // `count` tasks of type "t" in queue "q" unless the spec says otherwise.
  static TaskSpec spec(const std::string& type = "t", const std::string& queue = "q");
  TaskKey insert(TaskSpec spec);
  std::vector<TaskKey> insert_many(size_t count, const TaskSpec& spec);
  InsertResult insert_item(InsertItem item);

  // For queue "q" and type "t".
  ClaimRequest request(size_t max = 1000) const;
  std::vector<ClaimedTask> claim(size_t max = 1000);
  ClaimedTask claim_one();  // fails the test when there is not exactly one

  Applied apply(Plan plan);
  Applied finish(const ClaimedTask& task, const Outcome& outcome);
  Plan plan_finish(const ClaimedTask& task, const Outcome& outcome);
  // Inserts, claims and completes one task.
  TaskKey complete_one(TaskSpec spec, const std::string& result = "1");
  Applied cancel(TaskKey key);
  Applied retry(TaskKey key, std::optional<std::string> input = {});

  Task task(TaskKey key);  // fails the test when it is absent
  State state(TaskKey key) { return task(key).state(); }
  QueueStats queue(const std::string& name);  // all zero when absent

  FakeClock clock_;
  SeededRandom random_{7};
  std::unique_ptr<Store> store_;
  SessionId session_;
};

std::vector<TaskKey> keys_of(const std::vector<ClaimedTask>& tasks);
std::vector<TaskKey> keys_of(const std::vector<Task>& tasks);
std::shared_ptr<const std::vector<std::string>> types(std::vector<std::string> names);
LostSession lost_session(SessionId session, LostSession::Cause cause, std::string words = "gone");
InsertItem keyed_item(TaskSpec spec, UniqueKey key, std::string hash);
InsertItem item_with_id(TaskSpec spec, const std::string& id, std::string hash = "hash");
RetryPolicy retry_at_once();  // no wait between attempts
// Makes a job and works on it to its end, `most` tasks a slice. States that the filter does not
// name are those of default_states().
Job run_job(Store& store, JobAction action, TaskFilter filter, size_t most = 100);
TaskFilter of_queue(const std::string& queue, StateSet states = {});

class StoreInsert : public StoreConformance {};
class StoreClaim : public StoreConformance {};
class StoreLimits : public StoreConformance {
 protected:
  static constexpr std::chrono::seconds kPatience{30};
};
class StoreApply : public StoreConformance {};
class StoreRescue : public StoreConformance {};
class StoreUpkeep : public StoreConformance {};
class StoreRecord : public StoreConformance {};
class StoreReader : public StoreConformance {};
class StoreFleet : public StoreConformance {};
class StoreChanges : public StoreConformance {};
class StoreOutbox : public StoreConformance {
 protected:
  StoreOutbox();
};
class StoreJobs : public StoreConformance {};
class StoreWebhook : public StoreConformance {
 protected:
  std::vector<OutboxRow> rows();  // due effects
  std::vector<TaskEnd> ends();    // what they are about
  std::vector<std::string> event_kinds(TaskKey key);
};
class StoreExternal : public StoreConformance {
 protected:
  StoreExternal();
  // Of type "t" in queue "q", for somebody outside.
  static TaskSpec external_spec();
  // What somebody outside says of an attempt is written; whether it was news.
  bool report(TaskKey key, Report::Kind kind, int attempt = 1);
  std::vector<Handover> handovers();  // that are due
};
class StoreAdoption : public StoreConformance {
 protected:
  std::vector<OutboxRow> rows();   // due messages
  std::vector<AdoptedEnd> ends();  // what they are about
};
class StoreRace : public StoreConformance {};
class StoreReopen : public StoreConformance {
 protected:
  void SetUp() override;
  void reopen();
};
class StoreRefusal : public StoreConformance {
 protected:
  void SetUp() override;
  static std::vector<InsertItem> items(size_t count, size_t refused);
};
// store_model_test.cc: random commands, compared with the memory store after each.
class StoreModel : public testing::TestWithParam<StoreFactory> {};

}  // namespace opscore

#define OPSCORE_INSTANTIATE_ONE(name, suite, factory) \
  INSTANTIATE_TEST_SUITE_P(name, suite, testing::Values(factory))

#define INSTANTIATE_STORE_CONFORMANCE(name, factory)     \
  namespace opscore {                                    \
  OPSCORE_INSTANTIATE_ONE(name, StoreInsert, factory);   \
  OPSCORE_INSTANTIATE_ONE(name, StoreClaim, factory);    \
  OPSCORE_INSTANTIATE_ONE(name, StoreLimits, factory);   \
  OPSCORE_INSTANTIATE_ONE(name, StoreApply, factory);    \
  OPSCORE_INSTANTIATE_ONE(name, StoreRescue, factory);   \
  OPSCORE_INSTANTIATE_ONE(name, StoreUpkeep, factory);   \
  OPSCORE_INSTANTIATE_ONE(name, StoreRecord, factory);   \
  OPSCORE_INSTANTIATE_ONE(name, StoreReader, factory);   \
  OPSCORE_INSTANTIATE_ONE(name, StoreFleet, factory);    \
  OPSCORE_INSTANTIATE_ONE(name, StoreChanges, factory);  \
  OPSCORE_INSTANTIATE_ONE(name, StoreOutbox, factory);   \
  OPSCORE_INSTANTIATE_ONE(name, StoreJobs, factory);     \
  OPSCORE_INSTANTIATE_ONE(name, StoreWebhook, factory);  \
  OPSCORE_INSTANTIATE_ONE(name, StoreExternal, factory); \
  OPSCORE_INSTANTIATE_ONE(name, StoreAdoption, factory); \
  OPSCORE_INSTANTIATE_ONE(name, StoreRace, factory);     \
  OPSCORE_INSTANTIATE_ONE(name, StoreReopen, factory);   \
  OPSCORE_INSTANTIATE_ONE(name, StoreRefusal, factory);  \
  OPSCORE_INSTANTIATE_ONE(name, StoreModel, factory);    \
  }                                                      \
  static_assert(true)
