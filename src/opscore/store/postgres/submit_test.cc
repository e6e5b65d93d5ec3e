// submit() in SQL, as an application on the same database calls it.

#include <gmock/gmock.h>

#include <set>

#include "opscore/model/decide.h"
#include "opscore/model/handover.h"
#include "opscore/model/limits.h"
#include "opscore/store/postgres/test_database.h"

namespace opscore::postgres {
namespace {

using namespace std::chrono_literals;
using testing::Contains;
using testing::HasSubstr;

class PostgresSubmit : public PostgresTest {
 protected:
  void SetUp() override {
    PostgresTest::SetUp();
    if (database_ == nullptr) return;
    store_ = open();
    session_ = store_->fleet().open_session("host", "{}");
    CatalogueEntry entry;
    entry.type = "mail.send";
    entry.queue = "mail";
    entry.max_attempts = 7;
    entry.timeout = 90s;
    entry.aliases = {"send"};
    store_->fleet().announce_actors({entry});
  }
  std::unique_ptr<Store> open(bool announce = false, Duration poll_every = 1h) {
    static SystemClock clock;
    static SystemRandom random;
    static const auto kLog = silent_log();
    PostgresOptions options = database_->options();
    options.announce = announce;
    options.poll_every = poll_every;
    return open_postgres_store(clock, random, *kLog, options);
  }

  Connection& application() { return database_->connection(); }
  std::string submit(const std::string& type, const std::string& input,
                     const std::string& options = "{}") {
    static constexpr Statement kSubmit{"submit",
                                       "SELECT submit($1::text, $2::text::json, $3::text::json)"};
    return std::string(
        application().query(kSubmit, Parameters::of(type, input, options)).text(0, 0));
  }
  std::string refusal(const std::string& options, const std::string& type = "mail.send") {
    try {
      submit(type, "{}", options);
      return "it was not refused";
    } catch (const Failure& failure) {
      application().clear();
      return failure.message();
    }
  }
  Task task(const std::string& id) {
    auto key = store_->reader().resolve(id);
    return key ? store_->reader().find(*key).value_or(Task{}) : Task{};
  }
  std::vector<ClaimedTask> claim() {
    ClaimRequest request;
    request.session = session_;
    request.queues = {{"mail", 100}};
    request.types = std::make_shared<const std::vector<std::string>>(1, "mail.send");
    return store_->tasks().claim(request).tasks;
  }

  std::unique_ptr<Store> store_;
  SessionId session_;
};

TEST_F(PostgresSubmit, ATaskHasTheDefaultsOfItsActor) {
  Task found = task(submit("mail.send", R"({"to" : "ann"})"));
  EXPECT_EQ(found.type, "mail.send");
  EXPECT_EQ(found.queue, "mail");
  EXPECT_EQ(found.input, R"({"to" : "ann"})") << "payloads are not rewritten";
  EXPECT_EQ(found.max_attempts, 7);
  EXPECT_EQ(found.options.timeout, 90s);
  EXPECT_TRUE(found.options.unchecked);
  EXPECT_EQ(found.state(), State::pending);
  auto claimed = claim();
  ASSERT_EQ(claimed.size(), 1u);
  EXPECT_EQ(claimed[0].key, found.key);
  EXPECT_EQ(
      store_->tasks().apply({decide_finish(claimed[0], Outcome::complete("1"), from_ms(1),
                                           from_ms(2), *std::make_unique<SystemRandom>())})[0],
      Applied::applied);
}

TEST_F(PostgresSubmit, EveryOptionArrives) {
  Task found = task(submit("mail.send", "null", R"({
    "queue": "other", "priority": -3, "max_attempts": 0, "timeout": "1.5h", "deadline": 3600,
    "backoff": {"min": "2s", "max": 60, "factor": 1.5, "jitter": [0.5, 1.5]},
    "idempotency_key": "k \"1\"", "task_id": "order:1", "name": "é", "delay": null,
    "labels": {"b": "2", "a": "1"}, "metadata": {"n": 1.0}})"));
  EXPECT_EQ(found.queue, "other");
  EXPECT_EQ(found.priority, -3);
  EXPECT_EQ(found.max_attempts, 0);
  const TaskOptions& options = found.options;
  EXPECT_EQ(options.id, "order:1");
  EXPECT_EQ(options.timeout, 90min);
  EXPECT_GT(*options.deadline, found.created_at() + 59min);
  EXPECT_EQ(options.retry, (RetryPolicy{2s, 60s, 1.5, 0.5, 1.5}));
  EXPECT_EQ(options.idempotency_key, "k \"1\"");
  EXPECT_EQ(options.name, "é");
  EXPECT_EQ(options.metadata, R"({"n": 1.0})");
  EXPECT_THAT(options.labels,
              testing::ElementsAre(testing::Pair("a", "1"), testing::Pair("b", "2")));
  EXPECT_EQ(task(submit("send", "1", R"({"run_at": "2100-01-01T00:00:00.5+01:00"})")).live.run_at,
            parse_rfc3339("2099-12-31T23:00:00.5Z").value());
  EXPECT_EQ(task(submit("mail.send", "1", R"({"delay": "1d"})")).state(), State::scheduled);
}

// The migration has the numbers of model/limits.h once more.
TEST_F(PostgresSubmit, TheBoundsAreThoseOfTheApi) {
  auto options = [](double beyond) {
    const int64_t timeout_ms = limits::kTimeoutMax.count() + (beyond > 0 ? 1 : 0);
    const int one = beyond > 0 ? 1 : 0;
    return std::vector{
        fmt::format(R"({{"max_attempts": {}}})", limits::kAttemptsMax + one),
        fmt::format(R"({{"priority": {}}})", limits::kPriorityMax + one),
        fmt::format(R"({{"priority": {}}})", -limits::kPriorityMax - one),
        fmt::format(R"({{"timeout": "{}ms"}})", timeout_ms),
        fmt::format(R"({{"backoff": {{"factor": {}}}}})", limits::kBackoffFactorMax + beyond),
        fmt::format(R"({{"backoff": {{"jitter": [0, {}]}}}})", limits::kBackoffJitterMax + beyond)};
  };
  for (const std::string& largest : options(0))
    EXPECT_NO_THROW(submit("mail.send", "1", largest)) << largest;
  for (const std::string& too_large : options(0.5))
    EXPECT_THAT(refusal(too_large), HasSubstr("must be")) << too_large;
}

TEST_F(PostgresSubmit, WhatIsWrongIsRefusedByName) {
  EXPECT_THAT(refusal("{}", "mail.sent"), HasSubstr("no actor 'mail.sent' is known"));
  EXPECT_THAT(refusal("{}", "no type"), HasSubstr("type: 'no type' must"));
  EXPECT_THAT(refusal("[]"), HasSubstr("options: must be an object"));
  const std::pair<const char*, const char*> kCases[] = {
      {R"({"prio": 1})", "prio: unknown option; known are queue, priority"},
      {R"({"priority": 101})", "priority: is 101; it must be -100..100"},
      {R"({"priority": 1.5})", "priority: 1.5 is not an integer"},
      {R"({"priority": 1, "priority": 2})", "priority: is given twice"},
      {R"({"queue": "a.DQ"})", "queue: 'a.DQ' must"},
      {R"({"delay": "soon"})", "delay: \"soon\" is not a duration"},
      {R"({"delay": 1, "run_at": "2100-01-01T00:00:00Z"})", "delay: is given together"},
      {R"({"run_at": "tomorrow"})", "run_at: \"tomorrow\" is not an RFC 3339 time"},
      {R"({"run_at": "2100-02-30T00:00:00Z"})", "run_at: \"2100-02-30"},
      {R"({"timeout": 0})", "timeout: is 0; it must be more"},
      {R"({"deadline": "2001-01-01T00:00:00Z"})", "is not later than now"},
      {R"({"max_attempts": -1})", "max_attempts: is -1"},
      {R"({"backoff": {"min": 2, "max": 1}})", "backoff: needs 0 <= min <= max"},
      {R"({"backoff": {"jitter": 2}})", "backoff.jitter: must be a number between 0 and 1"},
      {R"({"backoff": {"x": 2}})", "backoff.x: unknown field"},
      {R"({"idempotency_key": ""})", "idempotency_key: is empty"},
      {R"({"task_id": "batch"})", "task_id: 'batch' must"},
      {R"({"labels": {"a": 1}})", "labels.a: 1 is not a string"},
      {R"({"labels": {"1": "a"}})", "labels: '1' must"},
      {R"({"metadata": 1})", "metadata: must be an object"},
      {R"({"webhook": "http://x"})", "webhook: cannot be given in SQL"},
  };
  for (const auto& [options, words] : kCases) EXPECT_THAT(refusal(options), HasSubstr(words));
  EXPECT_TRUE(store_->reader().list({}, {}, 10).tasks.empty());
}

TEST_F(PostgresSubmit, ARollbackLeavesNoTraceAndACommitWakes) {
  uint64_t before = store_->changes().position();
  application().execute("BEGIN; SELECT submit('mail.send', '1')");
  EXPECT_TRUE(claim().empty()) << "it is not committed";
  application().execute("ROLLBACK");
  EXPECT_TRUE(store_->reader().list({}, {}, 10).tasks.empty());
  application().execute("BEGIN; SELECT submit('mail.send', '2'); SELECT submit('mail.send', '3')");
  EXPECT_EQ(store_->changes().position(), before) << "nobody was told yet";
  application().execute("COMMIT");
  EXPECT_THAT(store_->changes().wait(before, Changes::Interest::work, Deadline::after(60s)).queues,
              Contains("mail"));
  auto claimed = claim();
  ASSERT_EQ(claimed.size(), 2u);
  EXPECT_EQ(claimed[0].input, "2");
  EXPECT_EQ(claimed[1].input, "3") << "first in, first out";
}

TEST_F(PostgresSubmit, WithoutANotificationItIsFoundByThePoll) {
  store_ = open(false, 10ms);
  EXPECT_TRUE(claim().empty());
  uint64_t before = store_->changes().position();
  application().execute("SET opscore.notify = off; SELECT submit('mail.send', '1')");
  application().execute("RESET opscore.notify");
  EXPECT_THAT(store_->changes().wait(before, Changes::Interest::work, Deadline::after(60s)).queues,
              Contains("mail"));
  EXPECT_EQ(claim().size(), 1u);
}

TEST_F(PostgresSubmit, KeysAreThoseOfTheEngine) {
  std::set<TaskKey> keys;
  TaskKey last;
  for (int i = 0; i < 50; ++i) {
    std::string id = submit("mail.send", "1");
    auto key = store_->ids().decode(id);
    ASSERT_TRUE(key) << id;
    EXPECT_GT(*key, last);
    keys.insert(last = *key);
    InsertItem item;
    item.spec.type = "mail.send";
    TaskKey ours = store_->tasks().insert({item}, InsertMode::per_item).at(0).key;
    EXPECT_NE(ours.value & 255, last.value & 255);
    keys.insert(ours);
  }
  EXPECT_EQ(keys.size(), 100u);
}

TEST_F(PostgresSubmit, AKeyIsTakenOnce) {
  const std::string kOptions = R"({"idempotency_key": "k"})";
  std::string id = submit("mail.send", "1", kOptions);
  EXPECT_EQ(submit("mail.send", "1", kOptions), id);
  EXPECT_EQ(store_->reader().list({}, {}, 10).tasks.size(), 1u);
  EXPECT_THAT(refusal(kOptions), HasSubstr("idempotency_key 'k' belongs to another task, " + id));
  EXPECT_EQ(submit("mail.send", "1", R"({"task_id": "a"})"), "a");
  EXPECT_EQ(submit("mail.send", "1", R"({"task_id": "a"})"), "a");
  EXPECT_THAT(refusal(R"({"task_id": "a"})"), HasSubstr("task_id 'a' belongs"));
  EXPECT_THAT(refusal(R"({"task_id": "b", "idempotency_key": "k"})"), HasSubstr("'k' belongs"));
  EXPECT_FALSE(store_->reader().resolve("b")) << "what was refused takes no key";
}

TEST_F(PostgresSubmit, LimitsOfTheQueueHold) {
  store_->tasks().change_settings([](Settings& settings) {
    settings.queues["mail"].limits.configured.max_pending = 1;
    settings.queues["other"].limits.configured.max_input_bytes = 1;
  });
  submit("mail.send", "1");
  EXPECT_THAT(refusal("{}"), HasSubstr("queue 'mail' is full: 1 tasks"));
  EXPECT_THAT(refusal(R"({"queue": "other"})"), HasSubstr("queue 'other' takes at most 1"));
}

TEST_F(PostgresSubmit, ARoleThatMayOnlyUseTheSchemaCanSubmit) {
  const std::string& schema = database_->schema();
  application().execute("CREATE ROLE " + schema + "; GRANT USAGE ON SCHEMA " + schema + " TO " +
                        schema + "; SET ROLE " + schema);
  EXPECT_NO_THROW(submit("mail.send", "1"));
  EXPECT_THROW(application().execute("SELECT * FROM tasks"), Failure);
  EXPECT_THROW(application().execute("SELECT public_id(1)"), Failure);
  application().execute("RESET ROLE; DROP OWNED BY " + schema + "; DROP ROLE " + schema);
}

TEST_F(PostgresSubmit, TokensAreWrittenWhereABrokerAnnounces) {
  submit("mail.send", "1");
  EXPECT_TRUE(store_->outbox().due(OutboxRow::Kind::token, 10).empty());
  store_ = open(true);
  submit("mail.send", "1");
  auto rows = store_->outbox().due(OutboxRow::Kind::token, 10);
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].destination, "mail");
}

TEST_F(PostgresSubmit, APythonActorGetsAMessage) {
  CatalogueEntry python;
  python.type = "resize";
  python.kind = "dramatiq";
  python.queue = "images";
  python.dramatiq = R"({"notify_shutdown":true})";
  store_->fleet().announce_actors({python});
  const std::string id = submit("resize", R"({"path": "a.png"})",
                                R"({"max_attempts": 3, "timeout": 5, "priority": 4})");
  const Task handed = task(id);
  EXPECT_FALSE(handed.live.claimable());
  EXPECT_EQ(handed.queue, "images");
  EXPECT_EQ(handed.max_attempts, 3);
  EXPECT_EQ(handed.options.dramatiq,
            R"({"notify_shutdown":true,"max_retries":2,"time_limit":5000,"broker_priority":4})");
  auto rows = store_->outbox().due(OutboxRow::Kind::amqp, 10);
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(decode_handover(rows[0]), (Handover{handed.key, 0}));
  EXPECT_EQ(rows[0].destination, handover_destination("images"));
  EXPECT_EQ(task(submit("resize", "[1]", R"({"task_id": "own"})")).live.claimable(), false);
  EXPECT_THAT(refusal("{}", "nobody"), HasSubstr("no actor"));
}

}  // namespace
}  // namespace opscore::postgres
