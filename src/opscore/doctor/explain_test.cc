// Each verdict, made by the fault that it names.

#include "opscore/doctor/explain.h"

#include <gmock/gmock.h>

#include "opscore/model/decide.h"
#include "opscore/model/limits.h"
#include "opscore/store/memory/memory_store.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

struct ExplainTest : testing::Test {
  std::string submit(std::optional<Duration> delay = {}) {
    InsertItem item;
    item.spec.type = "mail";
    item.spec.queue = "out";
    if (delay) item.spec.run_at = clock.now() + *delay;
    key = store->tasks().insert({item}, InsertMode::all_or_nothing)[0].key;
    return store->ids().encode(key);
  }
  void report(std::vector<std::string> queues = {"out"}, std::vector<std::string> types = {"mail"},
              int busy = 0) {
    if (!session) session = store->fleet().open_session("host:1", "{}");
    SessionReport report;
    report.state = "consuming";
    report.queues = std::move(queues);
    report.types = std::move(types);
    report.slots = 2;
    report.busy = busy;
    report.running = running;
    store->fleet().renew(session, report);
  }
  ClaimedTask claim() {
    if (!session) report();
    ClaimRequest request;
    request.session = session;
    request.queues = {{"out", 1}};
    request.types = std::make_shared<const std::vector<std::string>>(1, "mail");
    return store->tasks().claim(request).tasks.at(0);
  }
  void finish(const Outcome& outcome) {
    ClaimedTask task = claim();
    auto plan = decide_finish(task, outcome, clock.now(), clock.now(), random);
    ASSERT_EQ(store->tasks().apply({plan})[0], Applied::applied);
  }
  void cancel() {
    auto plan = decide_cancel(store->reader().find(key).value(), clock.now());
    ASSERT_EQ(store->tasks().apply({*plan})[0], Applied::applied);
  }
  // The verdict is right, the walk ends at the broken link (or goes all the way when it is empty),
  // and the next command is this one.
  Explanation expect(const std::string& id, const std::string& verdict, const std::string& broken,
                     const std::string& command, bool server_down = false) {
    Explanation it = explain(*store, clock, id, {.server_down = server_down, .look_at_queues = {}});
    EXPECT_EQ(it.name, id);
    EXPECT_EQ(it.verdict, verdict);
    EXPECT_NE(it.sentence, "");
    EXPECT_EQ(it.next_command, command);
    for (size_t i = 0; i + 1 < it.hops.size(); ++i) EXPECT_TRUE(it.hops[i].ok) << it.hops[i].name;
    EXPECT_EQ(it.hops.back().ok, broken.empty());
    EXPECT_EQ(it.hops.back().name, broken.empty() ? "finish" : broken);
    EXPECT_EQ(it.hops.front().name, "record");
    return it;
  }
  static std::string show(const std::string& id) { return "opscore tasks show " + id; }
  static std::string watch(const std::string& id) { return "opscore tasks watch " + id; }

  FakeClock clock;
  SeededRandom random{17};
  std::unique_ptr<Store> store = open_memory_store(clock, random);
  TaskKey key;
  SessionId session;
  std::vector<SessionReport::Running> running;
};

TEST_F(ExplainTest, a_task_that_is_not_there) {
  try {
    explain(*store, clock, "task_none");
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::not_found);
    EXPECT_THAT(error.what(), HasSubstr("task_none"));
  }
}

TEST_F(ExplainTest, no_worker) {
  std::string id = submit();
  auto it = expect(id, "no_worker", "session", "opscore workers list");
  EXPECT_THAT(it.sentence, HasSubstr("'out'"));
  EXPECT_EQ(it.hops.back().evidence, "none");
}

TEST_F(ExplainTest, a_worker_of_other_queues_does_not_help) {
  report({"in"});
  auto it = expect(submit(), "no_worker", "session", "opscore workers list");
  EXPECT_THAT(it.hops.back().evidence, HasSubstr("does not serve the queue"));
}

TEST_F(ExplainTest, a_worker_that_fell_silent_does_not_help) {
  report();
  clock.advance(limits::kSessionTtl + 1ms);
  auto it = expect(submit(), "no_worker", "session", "opscore workers list");
  EXPECT_THAT(it.hops.back().evidence, HasSubstr("renewed 15001ms ago"));
}

TEST_F(ExplainTest, no_actor) {
  report({"out"}, {"fax"});
  auto it = expect(submit(), "no_actor", "session", "opscore actors");
  EXPECT_THAT(it.sentence, HasSubstr("'mail'"));
  EXPECT_THAT(it.hops.back().evidence, HasSubstr("cannot run the type"));
}

TEST_F(ExplainTest, queue_paused) {
  std::string id = submit();
  store->tasks().set_paused("out", true);
  auto it = expect(id, "queue_paused", "queue", "opscore queues resume out");
  EXPECT_THAT(it.hops.back().evidence, HasSubstr("1 pending"));
  EXPECT_THAT(it.hops.back().evidence, HasSubstr("paused"));
}

TEST_F(ExplainTest, limit_reached) {
  report({"out"}, {"mail"});
  store->tasks().change_settings(
      [](Settings& settings) { settings.queues["out"].limits.chosen.concurrency = 1; });
  std::string first = submit(), second = submit();
  claim();
  expect(second, "limit_reached", "queue", "opscore queues set out --concurrency 2");
  store->tasks().change_settings([](Settings& settings) {
    settings.queues["out"].limits.chosen.concurrency = kUnlimited;
    settings.actor_concurrency["mail"] = 1;
  });
  store->fleet().announce_actors({{.type = "mail", .kind = "exec"}});
  expect(second, "limit_reached", "slot", "opscore actors set mail --concurrency 2");
}

TEST_F(ExplainTest, slots_busy) {
  report({"out"}, {"mail"}, 2);
  auto it = expect(submit(), "slots_busy", "slot", "opscore tasks list --status running");
  EXPECT_THAT(it.hops.back().evidence, HasSubstr("2 of 2 busy"));
}

TEST_F(ExplainTest, about_to_start) {
  report();
  std::string id = submit();
  expect(id, "about_to_start", "", watch(id));
}

TEST_F(ExplainTest, due_later) {
  std::string id = submit(1min);
  auto it = expect(id, "due_later", "record", watch(id));
  EXPECT_THAT(it.sentence, HasSubstr("in 1m"));
  EXPECT_THAT(it.hops.back().evidence, HasSubstr(to_rfc3339(clock.now() + 1min)));
}

TEST_F(ExplainTest, waiting_for_retry_names_the_last_error) {
  std::string id = submit();
  finish(Outcome::fail({"no_paper", "tray 2 is empty", {}}, true, 30s));
  auto it = expect(id, "waiting_for_retry", "attempt", show(id));
  EXPECT_THAT(it.sentence, HasSubstr("tray 2 is empty"));
  EXPECT_THAT(it.sentence, HasSubstr("in 30s"));
  EXPECT_THAT(it.hops.back().evidence, HasSubstr("no_paper"));
  EXPECT_THAT(it.hops.back().evidence, HasSubstr("charged 1 of 5"));
}

TEST_F(ExplainTest, snoozed) {
  std::string id = submit();
  finish(Outcome::snooze(1min, "the printer warms up"));
  auto it = expect(id, "snoozed", "attempt", watch(id));
  EXPECT_THAT(it.sentence, HasSubstr("the printer warms up"));
}

TEST_F(ExplainTest, running) {
  std::string id = submit();
  Lease lease = claim().lease();
  running = {{lease.key, lease.attempt, 0, clock.now()}};
  clock.advance(3s);
  report();
  auto it = expect(id, "running", "", watch(id));
  EXPECT_THAT(it.sentence, HasSubstr("host:1"));
  EXPECT_EQ(it.state, "running");
}

TEST_F(ExplainTest, not_started) {
  std::string id = submit();
  claim();
  clock.advance(3s);
  report();
  auto it = expect(id, "not_started", "slot", show(id));
  EXPECT_THAT(it.sentence, HasSubstr("3s ago"));
}

TEST_F(ExplainTest, stopping) {
  std::string id = submit();
  claim();
  cancel();
  expect(id, "stopping", "", watch(id));
}

TEST_F(ExplainTest, lease_lost_when_the_worker_fell_silent) {
  std::string id = submit();
  claim();
  clock.advance(limits::kSessionTtl + 1ms);
  auto it = expect(id, "lease_lost", "session", "opscore workers list");
  EXPECT_THAT(it.sentence, HasSubstr("host:1"));
}

TEST_F(ExplainTest, a_suspect_waits_for_its_turn) {
  std::string id = submit();
  Lease lease = claim().lease();
  LostSession crashed;
  crashed.session = session;
  crashed.cause = LostSession::Cause::crashed;
  crashed.entered_known = true;
  crashed.entered = {{lease, clock.now()}};
  crashed.blamed = lease;
  crashed.words = "worker host:1 died of SIGSEGV";
  store->tasks().rescue(crashed);
  auto after = expect(id, "waiting_for_retry", "attempt", show(id));
  EXPECT_THAT(after.sentence, HasSubstr("SIGSEGV"));
  clock.advance(1h);
  store->tasks().promote(10);
  session = {};
  report();
  expect(id, "suspect_waiting", "slot", watch(id));
}

TEST_F(ExplainTest, server_down) {
  report();
  std::string id = submit();
  expect(id, "server_down", "session", "opscore up", true);
  claim();
  expect(id, "lease_lost", "session", "opscore up", true);
}

TEST_F(ExplainTest, what_ended) {
  std::string completed = submit();
  finish(Outcome::complete("1"));
  expect(completed, "completed", "", show(completed));
  std::string cancelled = submit();
  cancel();
  expect(cancelled, "cancelled", "", "opscore tasks retry " + cancelled);
  std::string failed = submit();
  finish(Outcome::fail({"bad", "no such address", {}}, false));
  auto it = expect(failed, "failed", "attempt", "opscore tasks retry " + failed);
  EXPECT_THAT(it.sentence, HasSubstr("no such address"));
}

TEST_F(ExplainTest, waiting_for_others) {
  InsertItem item;
  item.spec.type = "mail";
  item.spec.waiting = true;
  std::string id =
      store->ids().encode(store->tasks().insert({item}, InsertMode::all_or_nothing)[0].key);
  expect(id, "waiting", "record", watch(id));
}

TEST_F(ExplainTest, walks_every_hop_in_its_order) {
  submit();
  ClaimedTask task = claim();
  Step step;
  step.number = 1;
  step.kind = "llm";
  step.name = "m";
  ASSERT_EQ(store->tasks().append_step(task.lease(), step), Applied::applied);
  std::vector<std::string> names;
  for (const Hop& hop : explain(*store, clock, store->ids().encode(key)).hops) {
    names.push_back(hop.name);
    EXPECT_NE(hop.evidence, "") << hop.name;
  }
  EXPECT_THAT(names, testing::ElementsAre("record", "outbox", "broker", "queue", "session",
                                          "intake", "slot", "attempt", "step", "finish"));
}

TEST_F(ExplainTest, asks_rabbitmq_when_it_can) {
  report();
  std::string id = submit();
  std::vector<std::string> asked;
  ExplainOptions options;
  options.look_at_queues = [&](const std::vector<std::string>& names) {
    asked = names;
    BrokerLook look;
    look.where = "amqp://h:5672/";
    look.queues = {{"opscore.out", 4, 1, 2}};
    return look;
  };
  auto it = explain(*store, clock, id, options);
  EXPECT_THAT(asked, testing::ElementsAre("opscore.out"));
  EXPECT_EQ(it.hops[2].evidence, "opscore.out: 4 ready, 2 unacked, 1 consumer");
  options.look_at_queues = [](const auto&) { return BrokerLook{"amqp://h", "refused", {}}; };
  EXPECT_THAT(explain(*store, clock, id, options).hops[2].evidence, HasSubstr("refused"));
}

TEST_F(ExplainTest, a_queue_by_the_task_that_waits_longest) {
  EXPECT_THROW(explain_queue(*store, clock, "out"), Error);
  std::string first = submit();
  clock.advance(1s);
  submit();
  auto it = explain_queue(*store, clock, "out");
  EXPECT_EQ(to_json(it)["queue"], "out");
  EXPECT_EQ(it.state, "active");
  EXPECT_EQ(it.verdict, "no_worker");
  EXPECT_THAT(it.sentence, HasSubstr(first));
  EXPECT_EQ(it.hops.back().name, "session");
  EXPECT_FALSE(it.hops.back().ok);
  store->tasks().set_paused("out", true);
  it = explain_queue(*store, clock, "out");
  EXPECT_EQ(it.verdict, "queue_paused");
  EXPECT_EQ(it.next_command, "opscore queues resume out");
  store->tasks().set_paused("out", false);
  claim();
  claim();
  it = explain_queue(*store, clock, "out");
  EXPECT_EQ(it.verdict, "nothing_waits");
  EXPECT_THAT(it.sentence, HasSubstr("2 run"));
}

TEST_F(ExplainTest, a_worker_by_its_name_or_number) {
  EXPECT_THROW(explain_worker(*store, clock, "worker-1"), Error);
  report({"out"}, {"mail"}, 2);
  const std::string name = "worker-" + std::to_string(session.value);
  auto it = explain_worker(*store, clock, name);
  EXPECT_EQ(to_json(it)["worker"], name);
  EXPECT_EQ(it.verdict, "worker_busy");
  EXPECT_TRUE(it.hops.back().ok);
  EXPECT_EQ(explain_worker(*store, clock, std::to_string(session.value)).name, name);
  clock.advance(limits::kSessionTtl + 1ms);
  it = explain_worker(*store, clock, name);
  EXPECT_EQ(it.verdict, "worker_silent");
  EXPECT_EQ(it.hops.size(), 1u);
  for (const char* wrong : {"", "worker-", "worker-x", "7x", "worker-99"})
    EXPECT_THROW(explain_worker(*store, clock, wrong), Error) << wrong;
}

TEST_F(ExplainTest, both_forms_say_the_same) {
  std::string id = submit();
  Explanation it = explain(*store, clock, id);
  Json json = to_json(it);
  EXPECT_EQ(json["task_id"], id);
  EXPECT_EQ(json["verdict"], "no_worker");
  EXPECT_EQ(json["hops"].size(), it.hops.size());
  EXPECT_EQ(json["hops"].back()["ok"], false);
  std::string text = to_text(it);
  for (const std::string& part : {id, it.sentence, it.next_command, std::string("-> session")})
    EXPECT_THAT(text, HasSubstr(part));
}

}  // namespace
}  // namespace opscore
