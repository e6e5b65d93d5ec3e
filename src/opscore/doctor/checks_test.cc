// Each finding, from the facts that it is about; and none from facts that are fine.

#include "opscore/doctor/checks.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "opscore/doctor/auditor.h"
#include "opscore/engine/diagnosis.h"
#include "opscore/engine/worker_diagnosis.h"
#include "opscore/model/limits.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const TimePoint kNow = from_ms(1'800'000'000'000);

std::vector<Ailment> kinds(const std::vector<Finding>& findings) {
  std::vector<Ailment> kinds;
  for (const Finding& finding : findings) {
    EXPECT_NE(finding.evidence, "");
    EXPECT_NE(finding.cause, "");
    EXPECT_NE(finding.command, "");
    kinds.push_back(finding.ailment);
  }
  return kinds;
}

HostFacts good_host() {
  HostFacts facts;
  facts.variables = {"DATABASE_URL"};
  facts.environment = {{"PATH", "/bin"}, {"OTHER", ""}, {"DATABASE_URL", "postgresql://h/d"}};
  facts.open_files = 1024;
  return facts;
}

TEST(CheckHost, FindsTheTrapsOfAnEnvironment) {
  HostFacts facts = good_host();
  EXPECT_THAT(kinds(check_host(facts)), IsEmpty());
  facts.environment["DATABASE_URL"] = "";
  facts.environment["DRAMATIQ_TESTING"] = "1";
  facts.environment["HTTPS_PROXY"] = "http://user:secret@proxy:3128";
  facts.environment["TZ"] = "Mars/Phobos";
  facts.time_zone_known = false;
  facts.open_files = 64;
  auto findings = check_host(facts);
  EXPECT_THAT(kinds(findings),
              ElementsAre(Ailment::empty_variable, Ailment::dramatiq_testing, Ailment::proxy_set,
                          Ailment::open_files_low, Ailment::time_zone));
  for (const Finding& finding : findings)
    EXPECT_EQ((finding.evidence + finding.command).find("secret"), std::string::npos);
}

TEST(CheckHost, RepeatsWhatIsWrongWithTheConfiguration) {
  HostFacts facts = good_host();
  facts.config_problems = {"opscore.toml:2: server.prot is not a setting"};
  facts.config_notes = {"OPSCORE_FOO is not known"};
  EXPECT_THAT(kinds(check_host(facts)), ElementsAre(Ailment::config_invalid, Ailment::config_note));
}

StoreFacts good_store() {
  StoreFacts facts;
  facts.where = "postgresql://h/d, schema opscore";
  facts.embedded = false;
  facts.schema = facts.schema_known = 5;
  facts.clock_offset = 300ms;
  facts.tables = {{"live", 1000, 90'000}, {"tasks", 1'000'000, 900'000}};
  facts.connections = 20;
  facts.connections_max = 100;
  return facts;
}

TEST(CheckStore, FindsWhatSlowsADatabaseDown) {
  StoreFacts facts = good_store();
  EXPECT_THAT(kinds(check_store(facts)), IsEmpty());
  facts.clock_offset = -5s;
  facts.transactions = {{17, "psql", "10.0.0.7", "idle in transaction", 2h}};
  facts.tables.push_back({"keys", 10, 200'000});
  facts.connections = 95;
  auto findings = check_store(facts);
  EXPECT_THAT(kinds(findings), ElementsAre(Ailment::clock_offset, Ailment::long_transaction,
                                           Ailment::bloat, Ailment::store_connections));
  EXPECT_THAT(findings[0].evidence, HasSubstr("5s behind"));
  EXPECT_THAT(findings[1].command, HasSubstr("pg_terminate_backend(17)"));
}

TEST(CheckStore, SaysWhichWayASchemaDiffers) {
  StoreFacts facts = good_store();
  facts.schema = 4;
  auto findings = check_store(facts);
  EXPECT_THAT(kinds(findings), ElementsAre(Ailment::store_schema));
  EXPECT_EQ(findings[0].command, "opscore migrate");
  facts.embedded = true;  // `up` does it itself
  EXPECT_THAT(kinds(check_store(facts)), IsEmpty());
  facts.schema = 6;
  EXPECT_THAT(kinds(check_store(facts)), ElementsAre(Ailment::store_schema));
}

TEST(CheckStore, OfOneThatDoesNotAnswerSaysOnlyThat) {
  StoreFacts facts = good_store();
  facts.problem = "connection refused";
  facts.connections = 100;
  EXPECT_THAT(kinds(check_store(facts)), ElementsAre(Ailment::store_unreachable));
}

TEST(CheckStore, ComparesTheDiskWithTheReserve) {
  StoreFacts facts;
  facts.where = "opscore.db";
  facts.disk_reserve_bytes = 64 << 20;
  facts.disk_free_bytes = 65 << 20;
  EXPECT_THAT(kinds(check_store(facts)), IsEmpty());
  facts.disk_free_bytes = 63 << 20;
  EXPECT_THAT(kinds(check_store(facts)), ElementsAre(Ailment::disk_low));
}

Session session(int64_t id, const char* context = "{}") {
  Session session;
  session.id = SessionId{id};
  session.name = "here:" + std::to_string(id);
  session.context = context;
  session.started_at = kNow - 1h;
  session.renewed_at = kNow - 1s;
  session.report.state = "consuming";
  session.report.queues = {"*"};
  session.report.types = {"mail"};
  session.report.slots = 8;
  return session;
}

FleetFacts good_fleet() {
  FleetFacts facts;
  facts.now = kNow;
  facts.version = "1.0";
  facts.host = "here";
  facts.executable = "/usr/bin/opscore";
  facts.sessions = {
      session(1, R"({"version": "1.0", "host": "here", "executable": "/usr/bin/opscore"})")};
  facts.waiting = {{"mail", "out", "task_1", 3, kNow - 1s}};
  return facts;
}

TEST(CheckFleet, FindsSessionsThatAreNotWhatTheySeem) {
  FleetFacts facts = good_fleet();
  EXPECT_THAT(kinds(check_fleet(facts)), IsEmpty());
  facts.sessions.push_back(
      session(2, R"({"version": "0.9", "host": "there", "executable": "/opt/opscore"})"));
  facts.sessions.push_back(session(
      3, R"({"version": "1.0", "host": "here", "executable": "/home/me/opscore", "cwd": "/x"})"));
  facts.sessions.push_back(session(4));
  facts.sessions.back().renewed_at = kNow - limits::kSessionTtl - 1s;
  facts.unled_since = kNow - 1h;
  EXPECT_THAT(kinds(check_fleet(facts)),
              ElementsAre(Ailment::session_silent, Ailment::no_maintenance, Ailment::other_version,
                          Ailment::other_host, Ailment::other_checkout));
}

TEST(CheckFleet, PassesOnWhatAWorkerSaysOfItself) {
  FleetFacts facts = good_fleet();
  SessionReport& report = facts.sessions[0].report;
  report.broker.emplace().problem = "connection refused";
  report.broker->refused["out"] = "queue 'out': ACCESS_REFUSED";
  report.abandoned = 1;
  report.unstarted = 4;
  report.oldest_unstarted_at = kNow - 1min;
  auto findings = check_fleet(facts);
  EXPECT_THAT(kinds(findings), ElementsAre(Ailment::session_trouble));
  for (const char* words : {"connection refused", "ACCESS_REFUSED", "1 of 8 slots", "4 tasks"})
    EXPECT_THAT(findings[0].evidence, HasSubstr(words));
}

TEST(CheckFleet, FindsTasksThatNobodyServes) {
  FleetFacts facts = good_fleet();
  facts.sessions[0].report.queues = {"out"};
  facts.waiting = {{"mail", "in", "task_1", 3, kNow - 1s}, {"video", "out", "task_2", 1, kNow}};
  facts.queues.emplace_back().name = "out";
  facts.queues[0].paused = true;
  facts.queues[0].pending = 2;
  EXPECT_THAT(kinds(check_fleet(facts)),
              ElementsAre(Ailment::queue_paused, Ailment::queue_unserved, Ailment::type_unserved));
  facts.sessions.clear();
  facts.queues.clear();
  EXPECT_THAT(kinds(check_fleet(facts)), ElementsAre(Ailment::nothing_runs));
}

TEST(CheckServer, FindsOneOnAnotherStore) {
  const FleetFacts fleet = good_fleet();
  ServerFacts facts{"http://localhost:8000", true, {}, std::vector<std::string>{"here:1"}};
  EXPECT_THAT(kinds(check_server(facts, fleet)), IsEmpty());
  facts.workers = std::vector<std::string>{"here:99"};
  EXPECT_THAT(kinds(check_server(facts, fleet)), ElementsAre(Ailment::other_server));
  facts.workers.reset();  // it did not tell
  EXPECT_THAT(kinds(check_server(facts, fleet)), IsEmpty());
}

BrokerFacts::Queue queue(const std::string& name) {
  BrokerFacts::Queue queue;
  queue.name = name;
  queue.consumers = 1;
  queue.arguments_known = true;
  if (!name.starts_with("opscore."))
    queue.arguments = {{"x-dead-letter-exchange", ""}, {"x-dead-letter-routing-key", "mail.XQ"}};
  return queue;
}

BrokerFacts good_broker() {
  BrokerFacts facts;
  facts.now = kNow;
  facts.where = "amqp://h:5672/";
  facts.management = "http://h:15672";
  facts.store = "A";
  facts.adopted = {"mail"};
  facts.queues = {queue("opscore.default"), queue("mail"), queue("mail.DQ")};
  BrokerFacts::Consumer consumer;
  consumer.queue = "opscore.default";
  consumer.name = "opscore worker 1";
  consumer.product = "opscore";
  consumer.store = "A";
  consumer.idle_since = kNow - 1h;
  facts.consumers = {consumer};
  facts.permissions = {"me", ".*", "^amq\\.default$", ".*"};
  return facts;
}

TEST(CheckBroker, IsContentWithWhatIsRight) {
  EXPECT_THAT(kinds(check_broker(good_broker())), IsEmpty());
  EXPECT_THAT(kinds(check_broker({})), IsEmpty()) << "none is configured";
}

TEST(CheckBroker, SaysWhoHoldsMessages) {
  BrokerFacts facts = good_broker();
  BrokerFacts::Consumer python;
  python.queue = "mail";
  python.product = "Pika Python Client Library";
  python.peer = "127.0.0.1:5000";
  python.user = "app";
  python.pid = 77;
  python.program = "python worker.py";
  python.unacked = 3;
  python.idle_since = kNow - 10s;
  facts.consumers.push_back(python);
  EXPECT_THAT(kinds(check_broker(facts)), IsEmpty()) << "not yet";
  facts.consumers[1].idle_since = kNow - 2min;
  auto findings = check_broker(facts);
  EXPECT_THAT(kinds(findings), ElementsAre(Ailment::unacked_held));
  for (const char* words : {"3 messages", "127.0.0.1:5000", "pid 77", "python worker.py", "2m"})
    EXPECT_THAT(findings[0].evidence, HasSubstr(words));
  facts.consumers[1].queue = "opscore.default";
  findings = check_broker(facts);
  EXPECT_THAT(kinds(findings), ElementsAre(Ailment::unacked_held, Ailment::foreign_consumer));
  EXPECT_EQ(findings[1].command, "kill 77");
}

TEST(CheckBroker, FindsAnotherInstallationOnItsQueues) {
  BrokerFacts facts = good_broker();
  facts.consumers[0].store = "B";
  EXPECT_THAT(kinds(check_broker(facts)), ElementsAre(Ailment::other_store));
  facts.store = "";  // ours is not known
  EXPECT_THAT(kinds(check_broker(facts)), IsEmpty());
}

TEST(CheckBroker, FindsQueuesThatAreNotWhatTheyMustBe) {
  BrokerFacts facts = good_broker();
  facts.queues[1].arguments = {{"x-dead-letter-exchange", ""}};
  facts.queues[2].durable = false;
  facts.queues[2].ready = 5;
  facts.queues[2].consumers = 0;
  EXPECT_THAT(
      kinds(check_broker(facts)),
      ElementsAre(Ailment::queue_arguments, Ailment::queue_arguments, Ailment::queue_unconsumed));
}

TEST(CheckBroker, ComparesPermissionsWithWhatIsNeeded) {
  BrokerFacts facts = good_broker();
  facts.permissions = {"me", "^opscore", "", "("};  // the last one is not for us to read
  auto findings = check_broker(facts);
  EXPECT_THAT(kinds(findings),
              ElementsAre(Ailment::permission_missing, Ailment::permission_missing));
  EXPECT_THAT(findings[0].evidence, HasSubstr("may not configure mail"));
  EXPECT_THAT(findings[1].evidence, HasSubstr("may not write amq.default"));
}

TEST(CheckBroker, SaysWhatItCannotSee) {
  BrokerFacts facts = good_broker();
  facts.management_problem = "it answered 401";
  EXPECT_THAT(kinds(check_broker(facts)), ElementsAre(Ailment::management_unknown));
  facts.management = "";
  facts.problem = "connection refused";
  EXPECT_THAT(kinds(check_broker(facts)),
              ElementsAre(Ailment::broker_unreachable, Ailment::management_unknown));
}

TEST(CheckModels, IsAboutTheDefaultAndWhatWasAsked) {
  ModelFacts facts;
  facts.providers = {{"openai", false, "provider 'openai' has no key", {}},
                     {"scripted", true, "", ""}};
  EXPECT_THAT(kinds(check_models(facts)), IsEmpty());
  facts.providers[0].is_default = true;
  facts.providers[1].refusal = "401 bad key";
  EXPECT_THAT(kinds(check_models(facts)),
              ElementsAre(Ailment::llm_key_missing, Ailment::llm_refused));
}

TEST(Examination, ExitsByItsWorstFindingAndShowsThatFirst) {
  Examination examination;
  EXPECT_EQ(exit_code_of(examination), 0);
  examination.add({{Ailment::proxy_set, "a", "b", "c"}});
  EXPECT_EQ(exit_code_of(examination), 0) << "a note";
  examination.add({{Ailment::bloat, "a", "b", "c"}});
  EXPECT_EQ(exit_code_of(examination), 1);
  examination.add({{Ailment::llm_refused, "evidence", "cause", "command"}});
  EXPECT_EQ(exit_code_of(examination), 2);
  EXPECT_EQ(to_json(examination)["findings"][0], Json({{"finding", "llm_refused"},
                                                       {"severity", "error"},
                                                       {"evidence", "evidence"},
                                                       {"cause", "cause"},
                                                       {"command", "command"}}));
  const std::string text = to_text(examination);
  EXPECT_LT(text.find("error llm_refused: evidence\n  cause\n  command\n"),
            text.find("warning bloat"));
}

// The words in the first column of the tables of a section of docs/troubleshooting.md.
std::multiset<std::string> documented(const std::string& section) {
  auto root = std::filesystem::path(__FILE__).parent_path() / "../../..";
  std::ifstream file(root / "docs/troubleshooting.md");
  EXPECT_TRUE(file);
  std::multiset<std::string> words;
  bool inside = false;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("## ")) inside = line == "## " + section;
    if (inside && line.starts_with("| `")) words.insert(line.substr(3, line.find('`', 3) - 3));
  }
  return words;
}

template <class Word>
void add_words(std::multiset<std::string>& words, Word last) {
  for (int i = 0; i <= static_cast<int>(last); ++i) words.emplace(to_string(static_cast<Word>(i)));
}

// Each word that a program may look at has one row, and each row is such a word.
TEST(Words, AreThoseOfTheTables) {
  std::multiset<std::string> verdicts{"nothing_waits"};
  add_words(verdicts, kLastVerdict);
  add_words(verdicts, kLastWorkerVerdict);
  EXPECT_EQ(documented("Verdicts"), verdicts);
  std::multiset<std::string> findings, rules;
  add_words(findings, kLastAilment);
  EXPECT_EQ(documented("Doctor"), findings);
  add_words(rules, kLastAuditRule);
  EXPECT_EQ(documented("The auditor"), rules);
}

}  // namespace
}  // namespace opscore
