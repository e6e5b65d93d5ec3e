#include "opscore/store/conformance/store_conformance.h"

namespace opscore {

void PrintTo(Applied applied, std::ostream* out) {
  static constexpr const char* kWords[] = {"applied", "already_applied", "lease_lost"};
  *out << kWords[static_cast<size_t>(applied)];
}

void PrintTo(InsertResult::Kind kind, std::ostream* out) {
  static constexpr const char* kWords[] = {"inserted",   "replayed",        "conflict",
                                           "queue_full", "input_too_large", "failed"};
  *out << kWords[static_cast<size_t>(kind)];
}

StoreConformance::StoreConformance()
    : store_(GetParam().open(clock_, random_)),
      session_(store_->fleet().open_session("host:1", R"({"pid": 1})")) {}

StoreOutbox::StoreOutbox() {
  store_.reset();
  store_ = GetParam().open_announcing(clock_, random_);
  session_ = store_->fleet().open_session("host:1", "{}");
}

void StoreReopen::SetUp() {
  if (!GetParam().reopen) GTEST_SKIP() << GetParam().name << " is not durable";
}

void StoreReopen::reopen() {
  store_.reset();
  store_ = GetParam().reopen(clock_, random_);
}

TaskSpec StoreConformance::spec(const std::string& type, const std::string& queue) {
  TaskSpec spec;
  spec.type = type;
  spec.queue = queue;
  spec.input = R"({"n": 1})";
  return spec;
}

InsertResult StoreConformance::insert_item(InsertItem item) {
  std::vector<InsertItem> items;
  items.push_back(std::move(item));
  auto results = store_->tasks().insert(std::move(items), InsertMode::per_item);
  EXPECT_EQ(results.size(), 1u);
  return results.at(0);
}

TaskKey StoreConformance::insert(TaskSpec spec) {
  InsertItem item;
  item.spec = std::move(spec);
  InsertResult result = insert_item(std::move(item));
  EXPECT_EQ(result.kind, InsertResult::Kind::inserted);
  return result.key;
}

std::vector<TaskKey> StoreConformance::insert_many(size_t count, const TaskSpec& spec) {
  std::vector<InsertItem> items(count);
  for (InsertItem& item : items) item.spec = spec;
  std::vector<TaskKey> keys;
  for (const InsertResult& result :
       store_->tasks().insert(std::move(items), InsertMode::all_or_nothing))
    keys.push_back(result.key);
  return keys;
}

ClaimRequest StoreConformance::request(size_t max) const {
  ClaimRequest request;
  request.session = session_;
  request.queues = {{"q", max}};
  request.types = types({"t"});
  return request;
}

std::vector<ClaimedTask> StoreConformance::claim(size_t max) {
  return store_->tasks().claim(request(max)).tasks;
}

ClaimedTask StoreConformance::claim_one() {
  auto tasks = claim();
  EXPECT_EQ(tasks.size(), 1u);
  return tasks.empty() ? ClaimedTask{} : tasks.front();
}

Applied StoreConformance::apply(Plan plan) {
  std::vector<Plan> plans;
  plans.push_back(std::move(plan));
  auto results = store_->tasks().apply(std::move(plans));
  EXPECT_EQ(results.size(), 1u);
  return results.at(0);
}

Plan StoreConformance::plan_finish(const ClaimedTask& task, const Outcome& outcome) {
  return decide_finish(task, outcome, clock_.now(), clock_.now(), random_);
}

Applied StoreConformance::finish(const ClaimedTask& task, const Outcome& outcome) {
  return apply(plan_finish(task, outcome));
}

TaskKey StoreConformance::complete_one(TaskSpec spec, const std::string& result) {
  ClaimRequest only = request(1);
  only.types = types({spec.type});
  only.queues = {{spec.queue, 1}};
  TaskKey key = insert(std::move(spec));
  auto tasks = store_->tasks().claim(only).tasks;
  EXPECT_EQ(keys_of(tasks), std::vector{key});
  EXPECT_EQ(finish(tasks.at(0), Outcome::complete(result)), Applied::applied);
  return key;
}

Applied StoreConformance::cancel(TaskKey key) {
  return apply(decide_cancel(task(key), clock_.now()).value());
}

Applied StoreConformance::retry(TaskKey key, std::optional<std::string> input) {
  return apply(decide_retry(task(key), std::move(input), clock_.now()).value());
}

Task StoreConformance::task(TaskKey key) {
  auto found = store_->reader().find(key);
  EXPECT_TRUE(found.has_value()) << "no task " << key.value;
  return found.value_or(Task{});
}

QueueStats StoreConformance::queue(const std::string& name) {
  for (const QueueStats& stats : store_->reader().queues())
    if (stats.name == name) return stats;
  return {};
}

std::vector<TaskKey> keys_of(const std::vector<ClaimedTask>& tasks) {
  std::vector<TaskKey> keys;
  for (const ClaimedTask& task : tasks) keys.push_back(task.key);
  return keys;
}

std::vector<TaskKey> keys_of(const std::vector<Task>& tasks) {
  std::vector<TaskKey> keys;
  for (const Task& task : tasks) keys.push_back(task.key);
  return keys;
}

std::shared_ptr<const std::vector<std::string>> types(std::vector<std::string> names) {
  return std::make_shared<const std::vector<std::string>>(std::move(names));
}

LostSession lost_session(SessionId session, LostSession::Cause cause, std::string words) {
  LostSession lost;
  lost.session = session;
  lost.cause = cause;
  lost.words = std::move(words);
  return lost;
}

InsertItem keyed_item(TaskSpec spec, UniqueKey key, std::string hash) {
  InsertItem item;
  item.spec = std::move(spec);
  item.keys = {std::move(key)};
  item.request_hash = std::move(hash);
  return item;
}

InsertItem item_with_id(TaskSpec spec, const std::string& id, std::string hash) {
  spec.options.id = id;
  return keyed_item(std::move(spec), {UniqueKey::Kind::task_id, "", id}, std::move(hash));
}

TaskFilter of_queue(const std::string& queue, StateSet states) {
  TaskFilter filter;
  filter.queue = queue;
  filter.states = states;
  return filter;
}

Job run_job(Store& store, JobAction action, TaskFilter filter, size_t most) {
  if (filter.states.empty()) filter.states = default_states(action);
  Job job = store.jobs().create({action, std::move(filter)});
  while (!is_ended(job.state)) job = store.jobs().advance(job, {store.jobs().look(job, most)});
  return job;
}

RetryPolicy retry_at_once() {
  RetryPolicy policy;
  policy.min = policy.max = Duration(0);
  return policy;
}

}  // namespace opscore
