// One seed: submits, faults, deaths, stalls, clock jumps, cancels and retries while workers work;
// then peace until everything has ended; then the checks.

#include <fmt/format.h>

#include <algorithm>

#include "faulty_broker.h"
#include "opscore/model/decide.h"
#include "opscore/model/error_kind.h"
#include "opscore/store/intercepted_store.h"
#include "opscore/store/memory/memory_store.h"
#include "sim_world.h"

namespace opscore::sim {
namespace {

constexpr int kStormSteps = 250;
constexpr int kPeaceSteps = 40'000;

struct Accepted {
  TaskKey key;
  std::string type;
  int max_attempts = 0;
  bool retried = false;
};

class World {
 public:
  World(uint64_t seed, bool verbose) : random_(seed), verbose_(verbose), log_(silent_log()) {
    if (random_.below(2)) hub_ = open_memory_broker();
    auto memory = open_memory_store(clock_, random_, {.announce = hub_ != nullptr});
    truth_ = memory.get();
    Faults faults{0.02, 0.02, [this](std::string_view) { return faults_on_; }};
    store_ = inject_faults(std::move(memory), random_, faults);
    size_t count = 1 + random_.below(3);
    for (size_t i = 0; i < count; ++i) workers_.push_back(make_worker());
  }

  Report run() {
    for (int i = 0; i < kStormSteps; ++i) storm();
    faults_on_ = false;
    if (hub_) hub_->set_away(false);
    store_->tasks().set_paused("mail", false);
    for (auto& [key, item] : unanswered_) submit_again(key, item);
    int left = kPeaceSteps;
    while (left > 0 && !all_ended()) {
      clock_.advance(Duration(1 + random_.below(3000)));
      step_workers();
      --left;
    }
    if (left == 0) problem("not everything ended in peace time");
    if (left == 0 && verbose_) describe_unfinished();
    check();
    return report_;
  }

 private:
  std::unique_ptr<SimWorker> make_worker() {
    return std::make_unique<SimWorker>(*store_, connect(), clock_, random_, *log_, next_worker_++);
  }

  std::unique_ptr<Broker> connect() {
    return hub_ ? inject_faults(hub_, random_, [this] { return faults_on_; }) : nullptr;
  }

  void problem(std::string text) { report_.problems.push_back(std::move(text)); }

  void storm() {
    ++report_.steps;
    clock_.advance(Duration(random_.below(300)));
    switch (random_.below(40)) {
      case 0:
        clock_.jump(std::chrono::hours(random_.below(2) ? 1 : -1));
        break;
      case 1:
        kill(random_.below(workers_.size()));
        break;
      case 2:
        stall(random_.below(workers_.size()));
        break;
      case 3:
        cancel_one();
        break;
      case 4:
        retry_one();
        break;
      case 5:
        pause_or_resume();
        break;
      case 12:
        if (hub_) hub_->set_away(random_.below(2));
        break;
      case 13:
        if (hub_) hub_->purge("mail");
        break;
      case 6:
      case 7:
      case 8:
      case 9:
      case 10:
      case 11:
        submit_new();
        break;
      default:
        break;
    }
    step_workers();
  }

  // A death by kill -9: nobody says goodbye. Sometimes a supervisor tells what it saw at once.
  void kill(size_t index) {
    ++report_.deaths;
    SessionId session = workers_[index]->intake.session();
    std::map<Lease, TimePoint> entered = workers_[index]->runner.entered();
    workers_[index] = make_worker();
    if (!session || random_.below(2) == 0) return;  // maintenance must notice by itself
    tell({session, LostSession::Cause::gone, true, entered, {}, "killed"});
  }

  void crash(size_t index, Lease culprit) {
    ++report_.deaths;
    LostSession lost{workers_[index]->intake.session(),
                     LostSession::Cause::crashed,
                     true,
                     workers_[index]->runner.entered(),
                     culprit,
                     "died of SIGSEGV"};
    workers_[index] = make_worker();
    tell(lost);
  }

  void tell(const LostSession& lost) {
    for (int tries = 0; tries < 20; ++tries) {
      try {
        store_->tasks().rescue(lost);
        return;
      } catch (const Error&) {
        ++report_.faults;
      }
    }
  }

  void stall(size_t index) {
    ++report_.stalls;
    workers_[index]->stalled_until = clock_.steady() + Duration(random_.below(30'000));
  }

  void step_workers() {
    for (size_t i = 0; i < workers_.size(); ++i) {
      SimWorker& worker = *workers_[i];
      if (worker.stalled_until > clock_.steady()) continue;
      if (auto culprit = worker.runner.crashing()) {
        crash(i, *culprit);
        continue;
      }
      try {
        worker.step();
      } catch (const Error& error) {
        ++report_.faults;
        if (error.code() != Errc::unavailable) problem(fmt::format("threw {}", error.what()));
      }
    }
  }

  void submit_new() {
    static constexpr const char* kTypes[] = {"ok",    "ok",      "slow",   "flaky",
                                             "fatal", "snoozer", "crasher"};
    InsertItem item;
    item.spec.type = kTypes[random_.below(7)];
    item.spec.queue = random_.below(2) ? "default" : "mail";
    item.spec.priority = static_cast<int>(random_.below(201)) - 100;
    item.spec.max_attempts = 1 + static_cast<int>(random_.below(5));
    if (random_.below(4) == 0) item.spec.run_at = truth_now() + Duration(random_.below(5000));
    if (random_.below(10) == 0)
      item.spec.options.deadline = truth_now() + Duration(1 + random_.below(20'000));
    std::string key = fmt::format("k{}", next_key_++);
    item.keys = {{UniqueKey::Kind::idempotency, item.spec.type, key}};
    item.request_hash = key;
    submit_again(key, item);
  }

  // The client keeps asking until it is answered; the key makes that safe.
  void submit_again(const std::string& key, const InsertItem& item) {
    try {
      auto result = store_->tasks().insert({item}, InsertMode::all_or_nothing)[0];
      if (result.kind == InsertResult::Kind::conflict) problem("a submit met a conflict: " + key);
      accepted_[key] = {result.key, item.spec.type, item.spec.max_attempts, false};
      ++report_.tasks;
    } catch (const Error&) {
      ++report_.faults;
      if (faults_on_) unanswered_[key] = item;
    }
  }

  Accepted* any_accepted() {
    if (accepted_.empty()) return nullptr;
    auto place = accepted_.begin();
    std::advance(place, static_cast<ptrdiff_t>(random_.below(accepted_.size())));
    return &place->second;
  }

  void cancel_one() {
    Accepted* chosen = any_accepted();
    if (!chosen) return;
    auto task = truth_->reader().find(chosen->key);
    if (!task) return;
    if (auto plan = decide_cancel(*task, truth_now())) try_apply(*plan);
  }

  void retry_one() {
    Accepted* chosen = any_accepted();
    if (!chosen) return;
    auto task = truth_->reader().find(chosen->key);
    if (!task) return;
    if (auto plan = decide_retry(*task, std::nullopt, truth_now())) {
      try_apply(*plan);
      chosen->retried = true;
    }
  }

  void try_apply(const Plan& plan) {
    try {
      store_->tasks().apply({plan});
    } catch (const Error&) {
      ++report_.faults;
    }
  }

  void pause_or_resume() {
    try {
      paused_ = !paused_;
      store_->tasks().set_paused("mail", paused_);
    } catch (const Error&) {
      ++report_.faults;
    }
  }

  TimePoint truth_now() const { return clock_.now(); }

  bool all_ended() {
    return std::all_of(accepted_.begin(), accepted_.end(), [&](const auto& entry) {
      auto task = truth_->reader().find(entry.second.key);
      return !task || is_terminal(task->state());
    });
  }

  void describe_unfinished() {
    fmt::print("now {}\n", to_rfc3339(clock_.now()));
    for (const Session& session : truth_->fleet().sessions(Duration(0)))
      fmt::print("session {}: busy {}\n", session.id.value, session.report.busy);
    for (const auto& [key, accepted] : accepted_) {
      auto task = truth_->reader().find(accepted.key);
      if (!task || is_terminal(task->state())) continue;
      fmt::print("{} {}: {} due {}, attempt {}, suspect {}, session {}\n", key, accepted.type,
                 to_string(task->state()), to_rfc3339(task->live.run_at), task->live.attempt,
                 task->live.suspect, task->live.session.value);
    }
  }

  void check() {
    std::map<TaskKey, std::string> owners;
    for (const auto& [key, accepted] : accepted_) {
      if (auto [place, fresh] = owners.emplace(accepted.key, key); !fresh)
        problem(fmt::format("{} and {} became one task", key, place->second));
      check_task(key, accepted);
    }
    for (const QueueStats& queue : truth_->reader().queues())
      if (queue.pending || queue.scheduled || queue.running || queue.waiting)
        problem(fmt::format("queue {} counts unfinished tasks at the end", queue.name));
    if (hub_) check_hints();
  }

  // In time every hint is announced, delivered and answered.
  void check_hints() {
    auto broker = hub_->connect();
    const std::vector<std::string> names{"default", "mail"};
    auto open = [&] {
      auto queues = broker->queues(names);
      return !truth_->outbox().due(OutboxRow::Kind::token, 1).empty() ||
             std::any_of(queues.begin(), queues.end(), [](const BrokerQueue& queue) {
               return queue.ready > 0 || queue.unanswered.value_or(0) > 0;
             });
    };
    for (int steps = 0; open(); ++steps) {
      if (steps == 500) return problem("hints are left without an answer");
      clock_.advance(Duration(1 + random_.below(3000)));
      step_workers();
    }
  }

  void check_task(const std::string& key, const Accepted& accepted) {
    auto task = truth_->reader().find(accepted.key);
    // Retention is an hour and clocks jump by hours, so a finished task may be gone already.
    if (!task) return;
    auto attempts = truth_->reader().attempts(accepted.key);
    auto fail = [&](const std::string& what) {
      problem(fmt::format("{} ({}, {}): {}", key, accepted.type, to_string(task->state()), what));
    };
    int completed = 0, charged = 0, last = 0;
    for (const Attempt& attempt : attempts) {
      if (!attempt.end) fail("an attempt without an end");
      if (attempt.number <= last) fail("attempt numbers do not grow");
      last = attempt.number;
      charged += attempt.charged;
      completed += attempt.end == AttemptEnd::completed;
    }
    if (!accepted.retried && charged > accepted.max_attempts)
      fail(fmt::format("{} charged attempts of {}", charged, accepted.max_attempts));
    if (charged != task->live.charged)
      fail(fmt::format("{} charged attempts on record, {} counted", charged, task->live.charged));
    if (task->state() == State::completed) {
      if (!accepted.retried && completed != 1) fail(fmt::format("{} completions", completed));
      if (task->result != std::to_string(last)) fail("the result is not the last attempt's");
      if (accepted.type == "fatal") fail("completed, though it always fails");
    }
    if (task->state() == State::failed && task->error.kind.empty()) fail("no reason is recorded");
    if (task->error.kind == error_kind::kPoison && accepted.type != "crasher")
      fail("quarantined, though it never crashed anything");
  }

  FakeClock clock_;
  SeededRandom random_;
  const bool verbose_;  // say more about a failure
  std::unique_ptr<Log> log_;
  std::shared_ptr<MemoryBrokerHub> hub_;  // null: a world without a broker
  Store* truth_ = nullptr;                // beneath the faults
  std::unique_ptr<Store> store_;
  bool faults_on_ = true;
  bool paused_ = false;
  size_t next_worker_ = 0;
  size_t next_key_ = 0;
  std::vector<std::unique_ptr<SimWorker>> workers_;
  std::map<std::string, Accepted> accepted_;
  std::map<std::string, InsertItem> unanswered_;
  Report report_;
};

}  // namespace

Report run_seed(uint64_t seed, bool verbose) {
  return World(seed, verbose).run();
}

}  // namespace opscore::sim
