// Random command sequences on a memory store and on another store, whose observable state must
// stay the same after every command. OPSCORE_TEST_SEED=n repeats a run.

#include <fmt/format.h>

#include <cstdlib>
#include <random>

#include "opscore/model/report.h"
#include "opscore/store/conformance/store_conformance.h"
#include "opscore/store/memory/memory_store.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;

// One of the two stores, and what a client of it has seen: the same things at the same places.
struct Side {
  explicit Side(std::unique_ptr<Store> opened) : store(std::move(opened)) {}
  std::unique_ptr<Store> store;
  std::vector<TaskKey> tasks;
  std::vector<SessionId> sessions;
  std::vector<ClaimedTask> claims;
  std::vector<Plan> plans;  // that were applied, or not yet

  size_t index_of(TaskKey key) const {
    return static_cast<size_t>(std::find(tasks.begin(), tasks.end(), key) - tasks.begin());
  }
  size_t index_of(SessionId id) const {
    return id ? static_cast<size_t>(std::find(sessions.begin(), sessions.end(), id) -
                                    sessions.begin())
              : 999;
  }
};

// Does something to a store; the answer is text, so that two can be compared.
struct Command {
  std::string name;
  std::function<std::string(Side&)> act;
};

std::string text_of(const ErrorInfo& error) {
  return fmt::format("{}/{}/{}", error.kind, error.message, error.detail);
}

std::string text_of(std::optional<TimePoint> at) {
  return at ? std::to_string(to_ms(*at)) : "-";
}

std::string text_of(Applied applied) {
  return std::to_string(static_cast<int>(applied));
}

std::string text_of(const Side& side, const Live& live, TimePoint now) {
  if (is_terminal(live.state))
    return fmt::format("{} attempt={} charged={} edits={}", to_string(live.state), live.attempt,
                       live.charged, live.edits);
  // Whether a due task has been promoted is a store's own affair.
  bool due = live.state == State::scheduled && live.run_at <= now;
  return fmt::format(
      "{} run_at={} attempt={} charged={}/{} snoozes={} losses={} deaths={} suspect={} cancel={} "
      "edits={} session={} claimed={} started={} external={}",
      to_string(due ? State::pending : live.state), to_ms(live.run_at), live.attempt, live.charged,
      live.budget, live.snoozes, live.losses, live.deaths, live.suspect, live.cancel_requested,
      live.edits, side.index_of(live.session), to_ms(live.claimed_at), to_ms(live.started_at),
      text_of(live.external_until));
}

std::string text_of(const Side& side, const Attempt& attempt) {
  return fmt::format("  attempt {} {} charged={} by={} {} {} {} {}\n", attempt.number,
                     attempt.end ? to_string(*attempt.end) : "runs", attempt.charged,
                     side.index_of(attempt.worker), to_ms(attempt.claimed_at),
                     text_of(attempt.started_at), text_of(attempt.ended_at),
                     text_of(attempt.error));
}

std::string text_of(Side& side, TaskKey key, TimePoint now) {
  TaskReader& reader = side.store->reader();
  auto task = reader.find(key);
  std::string text = fmt::format("task {}: ", side.index_of(key));
  if (!task) return text + "gone\n";
  text += fmt::format("{} {} {} prio={} max={} {}\n", task->type, task->queue, task->input,
                      task->priority, task->max_attempts, task->options.id);
  text += fmt::format("  {}\n  progress={} result={} error={} worker={} started={} finished={}\n",
                      text_of(side, task->live, now), task->progress, task->result,
                      text_of(task->error), side.index_of(task->worker), text_of(task->started_at),
                      text_of(task->finished_at));
  for (const Attempt& attempt : reader.attempts(key)) text += text_of(side, attempt);
  for (const TaskEvent& event : reader.events(key))
    text += fmt::format("  event {} {} {} {} {}\n", event.number, to_ms(event.at), event.kind,
                        event.attempt, event.data);
  for (const Step& step : reader.steps(key))
    text += fmt::format("  step {} {} by {}\n", step.number, step.response, step.attempt);
  for (const std::string& input : reader.inputs(key)) text += "  input " + input + "\n";
  return text;
}

std::string text_of(Side& side, TimePoint now) {
  std::string text;
  for (TaskKey key : side.tasks) text += text_of(side, key, now);
  for (const QueueStats& stats : side.store->reader().queues()) {
    auto line = fmt::format(
        "due+scheduled={} running={} waiting={} dead={} done={} cancelled={} "
        "paused={}\n",
        stats.pending + stats.scheduled, stats.running, stats.waiting, stats.dead, stats.completed,
        stats.cancelled, stats.paused);
    bool empty = stats.pending + stats.scheduled + stats.running + stats.waiting + stats.dead +
                         stats.completed + stats.cancelled ==
                     0 &&
                 !stats.paused;
    if (!empty) text += "queue " + stats.name + ": " + line;
  }
  for (const Session& session : side.store->fleet().sessions(1h))
    text += fmt::format("session {} {} ended={} {}\n", side.index_of(session.id), session.name,
                        text_of(session.ended_at), session.last_words);
  text += "listed:";
  for (const Task& task : side.store->reader().list({}, {}, 1000).tasks)
    text += fmt::format(" {}", side.index_of(task.key));
  return text + "\n";
}

// Makes the commands. Everything random is drawn here, once for both stores.
class Script {
 public:
  Script(uint64_t seed, FakeClock& clock) : engine_(seed), clock_(clock) {}
  Command next();

 private:
  size_t below(size_t bound) { return engine_() % bound; }
  bool chance(size_t percent) { return below(100) < percent; }
  std::string queue() { return below(2) ? "q" : "mail"; }
  TimePoint soon() { return clock_.now() + Duration(static_cast<int64_t>(below(200))); }

  TaskSpec spec();
  InsertItem item();
  Outcome outcome();
  Command insert();
  Command claim();
  Command finish();
  Command apply_again();
  Command change();
  Command lose();
  Command renew();
  Command record();
  Command report();
  Command keep_up();
  Command clear();

  std::mt19937_64 engine_;
  FakeClock& clock_;
  SeededRandom none_{0};  // for decisions without jitter
};

std::string apply(Side& side, const Plan& plan) {
  return text_of(side.store->tasks().apply({plan}).at(0));
}

TaskSpec Script::spec() {
  TaskSpec spec;
  spec.type = below(3) ? "a" : "b";
  spec.queue = queue();
  spec.input = std::to_string(below(1000));
  spec.priority = static_cast<int>(below(5)) - 2;
  spec.max_attempts = static_cast<int>(below(4));
  if (chance(30)) spec.run_at = soon();
  if (chance(15)) spec.options.deadline = soon();
  spec.waiting = chance(5);
  if (chance(10)) spec.options.dramatiq = "{}";
  // Without jitter, so that two stores decide the same.
  spec.options.retry = RetryPolicy{Duration(static_cast<int64_t>(below(2) * 20)), 1s, 2, 1, 1};
  return spec;
}

InsertItem Script::item() {
  InsertItem item;
  item.spec = spec();
  item.request_hash = std::to_string(below(2));
  if (chance(30)) {
    item.spec.options.id = fmt::format("id-{}", below(4));
    item.keys.push_back({UniqueKey::Kind::task_id, "", item.spec.options.id});
  }
  if (chance(30))
    item.keys.push_back({UniqueKey::Kind::idempotency, item.spec.type, std::to_string(below(4))});
  if (chance(20)) item.on_conflict = InsertItem::OnConflict::refuse;
  if (item.keys.empty() && chance(30)) {
    item.message_id = fmt::format("m{}", below(4));
    item.spec.options.id = fmt::format("id-{}", below(4));
    item.request_hash = "of " + item.message_id;
    item.keys = {{UniqueKey::Kind::task_id, "", item.spec.options.id},
                 {UniqueKey::Kind::message_id, "", item.message_id}};
    item.on_conflict = InsertItem::OnConflict::derive_id;
  }
  return item;
}

Command Script::insert() {
  std::vector<InsertItem> items;
  for (size_t n = 1 + below(3); n > 0; --n) items.push_back(item());
  auto mode = chance(50) ? InsertMode::per_item : InsertMode::all_or_nothing;
  return {"insert", [=](Side& side) {
            auto results = side.store->tasks().insert(items, mode);
            bool refused = mode == InsertMode::all_or_nothing &&
                           std::any_of(results.begin(), results.end(),
                                       [](auto& result) { return result.refused(); });
            std::string text;
            for (const InsertResult& result : results) {
              bool made = result.kind == InsertResult::Kind::inserted;
              if (made && !refused) side.tasks.push_back(result.key);
              text += fmt::format("{}:{} ", static_cast<int>(result.kind),
                                  refused ? 0 : side.index_of(result.key));
            }
            return text;
          }};
}

Command Script::claim() {
  ClaimRequest request;
  request.queues = {{"q", below(5)}, {"mail", below(5)}};
  if (chance(50)) std::swap(request.queues[0], request.queues[1]);
  request.types =
      types(chance(70) ? std::vector<std::string>{"a", "b"} : std::vector<std::string>{"a"});
  if (chance(20)) request.room = {{{"a"}, below(3)}};
  request.suspects = below(2);
  size_t who = below(1000);
  return {"claim", [=](Side& side) mutable {
            request.session = side.sessions[who % side.sessions.size()];
            ClaimResult result = side.store->tasks().claim(request);
            std::string text;
            for (const ClaimedTask& task : result.tasks) {
              text += fmt::format("{}#{} input={} ", side.index_of(task.key), task.live.attempt,
                                  task.input);
              side.claims.push_back(task);
            }
            side.store->tasks().expire(1000);  // a claim may, so both do
            return text;
          }};
}

Outcome Script::outcome() {
  Outcome outcome;
  outcome.kind = static_cast<Outcome::Kind>(below(7));
  if (chance(30)) outcome.kind = Outcome::Kind::completed;
  outcome.result = std::to_string(below(100));
  outcome.error = {"kind", "words", "detail"};
  outcome.retryable = chance(70);
  if (chance(40)) outcome.delay = Duration(static_cast<int64_t>(below(50)));
  return outcome;
}

Command Script::finish() {
  Outcome result = outcome();
  size_t which = below(8);
  TimePoint now = clock_.now(), started = chance(80) ? now : TimePoint{};
  return {"finish", [=, this](Side& side) -> std::string {
            if (side.claims.empty()) return "";
            // One of the newest; an older one is mostly a lease that was lost.
            size_t back = std::min(which, side.claims.size() - 1);
            const ClaimedTask& task = side.claims[side.claims.size() - 1 - back];
            Plan plan = decide_finish(task, result, started, now, none_);
            side.plans.push_back(plan);
            return apply(side, plan);
          }};
}

Command Script::apply_again() {
  size_t which = below(10);
  return {"apply again", [=](Side& side) -> std::string {
            if (side.plans.empty()) return "";
            return apply(
                side, side.plans[side.plans.size() - 1 - std::min(which, side.plans.size() - 1)]);
          }};
}

Command Script::change() {
  bool cancels = chance(50), edits = chance(40), holds = chance(20);
  size_t which = below(1000);
  TimePoint now = clock_.now();
  std::string input = std::to_string(1000 + below(1000));
  return {cancels ? "cancel" : "retry", [=](Side& side) -> std::string {
            if (side.tasks.empty()) return "";
            auto task = side.store->reader().find(side.tasks[which % side.tasks.size()]);
            if (!task) return "gone";
            auto plan = cancels
                            ? decide_cancel(*task, now)
                            : decide_retry(*task, edits ? std::optional(input) : std::nullopt, now);
            if (!plan) return plan.error().message();
            side.plans.push_back(*plan);
            return holds ? "" : apply(side, *plan);  // "apply again" may come back to it
          }};
}

Command Script::lose() {
  LostSession planned = lost_session({}, static_cast<LostSession::Cause>(below(3)), "lost");
  planned.entered_known = chance(60);
  size_t who = below(1000), entered = below(4);
  bool blames = chance(30);
  TimePoint started_at = chance(50) ? clock_.now() : TimePoint{};
  return {"rescue", [=](Side& side) {
            LostSession lost = planned;
            lost.session = side.sessions[who % side.sessions.size()];
            for (size_t n = 0; n < std::min(entered, side.claims.size()); ++n)
              lost.entered.emplace(side.claims[side.claims.size() - 1 - n].lease(), started_at);
            if (blames && !lost.entered.empty()) lost.blamed = side.claims.back().lease();
            size_t ended = side.store->tasks().rescue(lost);
            auto name = fmt::format("worker {}", side.sessions.size());
            side.sessions.push_back(side.store->fleet().open_session(name, "{}"));
            return std::to_string(ended);
          }};
}

Command Script::renew() {
  size_t who = below(1000), reported = below(4);
  TimePoint at = clock_.now();
  bool commands = chance(30);
  return {"renew", [=](Side& side) {
            SessionId session = side.sessions[who % side.sessions.size()];
            if (commands) side.store->fleet().command(session, "drain");
            SessionReport report;
            for (size_t n = 0; n < std::min(reported, side.claims.size()); ++n) {
              const ClaimedTask& task = side.claims[side.claims.size() - 1 - n];
              report.running.push_back({task.key, task.live.attempt, 0, at});
            }
            RenewReply reply = side.store->fleet().renew(session, report);
            std::vector<std::string> cancels;
            for (const Lease& lease : reply.cancels)
              cancels.push_back(fmt::format("{}#{}", side.index_of(lease.key), lease.attempt));
            std::sort(cancels.begin(), cancels.end());
            return fmt::format("lost={} cancels={} commands={} leads={}", reply.lost,
                               fmt::join(cancels, ","), fmt::join(reply.commands, ","),
                               side.store->fleet().lead(session));
          }};
}

Command Script::record() {
  size_t which = below(6);
  int number = static_cast<int>(below(4)) + 1;
  std::string words = std::to_string(below(1000));
  bool progress = chance(50);
  return {
      "record", [=](Side& side) -> std::string {
        if (side.claims.empty()) return "";
        Lease lease =
            side.claims[side.claims.size() - 1 - std::min(which, side.claims.size() - 1)].lease();
        if (progress) {
          side.store->tasks().record_progress({{lease, words}});
          return "";
        }
        return text_of(side.store->tasks().append_step(lease, {number, "tool", "n", "{}", words}));
      }};
}

// What somebody outside says of one of the first attempts of a task.
Command Script::report() {
  Report report;
  report.kind = static_cast<Report::Kind>(below(5));
  report.attempt = static_cast<int>(below(3)) + 1;
  report.at = clock_.now();
  report.result = std::to_string(below(100));
  report.error = {"ValueError", "words", "detail"};
  report.next_at = clock_.now() + Duration(static_cast<int64_t>(below(100)));
  size_t which = below(1000);
  bool extends = chance(20);
  return {"report", [=](Side& side) -> std::string {
            if (side.tasks.empty()) return "";
            auto task = side.store->reader().find(side.tasks[which % side.tasks.size()]);
            if (!task || !task->options.is_external()) return "";
            if (extends) {
              side.store->fleet().extend(std::vector{Lease{task->key, report.attempt}}, report.at);
              return fmt::format("{}", side.store->reader().doubtful(1000).size());
            }
            Mirrored mirrored = decide_report(*task, report);
            std::string text = std::to_string(static_cast<int>(mirrored.heard));
            for (Applied applied : side.store->tasks().apply(mirrored.plans))
              text += text_of(applied);
            return text;
          }};
}

Command Script::keep_up() {
  size_t what = below(5);
  bool limits = chance(50);
  auto limit = static_cast<int64_t>(below(4)) + 1;
  std::string where = queue();
  Duration on(static_cast<int64_t>(below(60)));
  bool paused = chance(30);
  if (what == 0) clock_.advance(on);
  return {"upkeep", [=](Side& side) -> std::string {
            TaskStore& tasks = side.store->tasks();
            if (what == 1) tasks.promote(1000);  // how many depends on what a claim promoted
            if (what == 2) return std::to_string(tasks.expire(1000));
            if (what == 3) tasks.set_paused(where, paused);
            if (what == 4)
              tasks.change_settings([&](Settings& settings) {
                settings.queues[where].limits.chosen = {
                    .max_pending = limits ? LimitValue(limit * 4) : std::nullopt,
                    .concurrency = limits ? LimitValue(limit) : std::nullopt};
              });
            return "";
          }};
}

// A bulk job of some kind on a queue, from its start to its end.
std::string bulk(Store& store, size_t which, const std::string& queue) {
  constexpr JobAction kActions[] = {JobAction::cancel, JobAction::retry, JobAction::remove};
  StateSet states(static_cast<State>(which / 12 % kStateCount));
  Job job = run_job(store, kActions[which / 4 % 3], of_queue(queue, states), which % 5 + 1);
  return fmt::format("{}/{}/{} {}", job.counts.done, job.counts.matched, to_string(job.state),
                     encode_skipped(job.counts.skipped));
}

Command Script::clear() {
  size_t what = below(4), which = below(1000);
  std::string where = queue();
  return {
      "clear", [=](Side& side) -> std::string {
        TaskStore& tasks = side.store->tasks();
        if (what == 0 && which % 4 == 0) return bulk(*side.store, which, where);
        if (what == 1) return std::to_string(tasks.prune({60ms, 120ms, {{"b", 90ms}}}, 1000));
        if (what == 2 && !side.tasks.empty())
          return std::to_string(tasks.remove(std::vector{side.tasks[which % side.tasks.size()]}));
        return "";
      }};
}

Command Script::next() {
  size_t dice = below(100);
  if (dice < 18) return insert();
  if (dice < 40) return claim();
  if (dice < 60) return finish();
  if (dice < 64) return apply_again();
  if (dice < 74) return change();
  if (dice < 78) return lose();
  if (dice < 82) return renew();
  if (dice < 85) return report();
  if (dice < 89) return record();
  if (dice < 96) return keep_up();
  return clear();
}

// What must be so in any store, whatever happened.
void check_invariants(Side& side) {
  for (TaskKey key : side.tasks) {
    auto task = side.store->reader().find(key);
    if (!task) continue;
    auto attempts = side.store->reader().attempts(key);
    int charged = 0, last = 0, running = 0;
    for (const Attempt& attempt : attempts) {
      ASSERT_GT(attempt.number, last) << "attempt numbers grow";
      last = attempt.number;
      charged += attempt.charged;
      running += !attempt.end;
    }
    ASSERT_EQ(task->live.charged, charged) << "charges are those of the attempts";
    ASSERT_EQ(running, task->state() == State::running);
    ASSERT_LE(last, task->live.attempt);
    ASSERT_EQ(task->finished_at.has_value(), is_terminal(task->state()));
    ASSERT_EQ(side.store->reader().inputs(key).size(), static_cast<size_t>(task->live.edits) + 1);
  }
}

void run_sequence(const StoreFactory& factory, uint64_t seed, size_t commands) {
  SCOPED_TRACE(fmt::format("OPSCORE_TEST_SEED={}", seed));
  FakeClock clock;
  SeededRandom random(seed);
  Side reference(open_memory_store(clock, random)), other(factory.open(clock, random));
  for (Side* side : {&reference, &other})
    side->sessions.push_back(side->store->fleet().open_session("worker 0", "{}"));
  Script script(seed, clock);
  std::string before;
  for (size_t n = 0; n < commands; ++n) {
    Command command = script.next();
    std::string expected = command.act(reference), got = command.act(other);
    ASSERT_EQ(expected, got) << "the answer to command " << n << ", " << command.name
                             << ", with before it:\n"
                             << before;
    before = text_of(reference, clock.now());
    ASSERT_EQ(before, text_of(other, clock.now()))
        << "after command " << n << ", " << command.name << " -> " << expected;
    check_invariants(other);
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST_P(StoreModel, BehavesLikeTheMemoryStore) {
  const char* asked = std::getenv("OPSCORE_TEST_SEED");
  uint64_t seed = asked ? std::strtoull(asked, nullptr, 10) : SystemRandom().next() % 1'000'000;
  fmt::print("first seed {}\n", seed);
  Deadline deadline = Deadline::after(asked ? 0s : 2s);
  do {
    run_sequence(GetParam(), seed++, 120);
  } while (!deadline.passed() && !HasFatalFailure());
}

}  // namespace
}  // namespace opscore
