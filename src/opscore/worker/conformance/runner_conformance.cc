#include "opscore/worker/conformance/runner_conformance.h"

#include <thread>

#include "opscore/store/memory/memory_store.h"

namespace opscore {

bool eventually(const std::function<bool()>& done) {
  Deadline deadline = Deadline::after(kTestPatience);
  while (!done()) {
    if (deadline.passed()) return false;
    std::this_thread::yield();
  }
  return true;
}

bool Gate::pass(std::stop_token stop) {
  std::unique_lock lock(mutex_);
  ++entered_;
  changed_.notify_all();
  return changed_.wait(lock, stop, [this] { return open_; });
}

bool Gate::wait_entered(size_t count) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, kTestPatience, [&] { return entered_ >= count; });
}

void Gate::open() {
  std::lock_guard lock(mutex_);
  open_ = true;
  changed_.notify_all();
}

RunnerConformance::RunnerConformance()
    : store_(open_memory_store(clock_, random_)),
      session_(store_->fleet().open_session("host:1", "{}")) {
  using Result = std::function<std::string(TaskContext&)>;
  registry_.add("noop", Result([](TaskContext&) { return "null"; }));
  registry_.add("echo", Result([](TaskContext& task) { return task.input(); }));
  registry_.add("gate", std::function<Outcome(TaskContext&)>([this](TaskContext& task) {
                  if (gate_.pass(task.stop())) return Outcome::complete("1");
                  return Outcome::fail({"gave_up", "was asked to stop", {}});
                }));
  registry_.add("heedless", Result([this](TaskContext&) {
                  gate_.pass_heedless();
                  return "2";
                }));
}

RunnerConformance::~RunnerConformance() {
  gate_.open();
  runner_.reset();
}

void RunnerConformance::start_runner(size_t slots) {
  auto post = [this](std::vector<Finished> finished) {
    std::lock_guard lock(mutex_);
    for (Finished& one : finished) posted_.push_back(std::move(one));
    changed_.notify_all();
  };
  runner_ = GetParam()({actors_, *store_, clock_, *log_, page_, slots, post, [this] { ++rooms_; }});
}

std::vector<ClaimedTask> RunnerConformance::claimed(const std::string& type, size_t count,
                                                    const TaskOptions& options) {
  std::vector<InsertItem> items(count);
  for (size_t i = 0; i < count; ++i) {
    items[i].spec.type = type;
    items[i].spec.input = std::to_string(i);
    items[i].spec.options = options;
  }
  store_->tasks().insert(std::move(items), InsertMode::all_or_nothing);
  ClaimRequest request;
  request.session = session_;
  request.queues = {{"default", count}};
  request.types = std::make_shared<const std::vector<std::string>>(1, type);
  auto tasks = store_->tasks().claim(request).tasks;
  EXPECT_EQ(tasks.size(), count);
  return tasks;
}

std::vector<Lease> RunnerConformance::run(const std::string& type, size_t count,
                                          const TaskOptions& options) {
  auto tasks = claimed(type, count, options);
  std::vector<Lease> leases;
  for (const ClaimedTask& task : tasks) leases.push_back(task.lease());
  runner_->start(std::move(tasks));
  return leases;
}

Finished RunnerConformance::run_function(std::function<Outcome(TaskContext&)> function) {
  registry_.add("function", std::move(function));
  start_runner(1);
  run("function");
  return only_posted();
}

std::vector<Finished> RunnerConformance::posted(size_t count) {
  std::unique_lock lock(mutex_);
  EXPECT_TRUE(changed_.wait_for(lock, kTestPatience, [&] { return posted_.size() >= count; }))
      << posted_.size() << " of " << count;
  return posted_;
}

size_t RunnerConformance::posted_count() {
  std::lock_guard lock(mutex_);
  return posted_.size();
}

Finished RunnerConformance::only_posted() {
  auto all = posted(1);
  EXPECT_EQ(all.size(), 1u);
  return all.empty() ? Finished{} : all[0];
}

}  // namespace opscore
