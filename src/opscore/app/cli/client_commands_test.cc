// The client commands against a real server over the memory store.

#include "opscore/app/cli/client_commands.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "opscore/api/server.h"
#include "opscore/broker/dramatiq/message.h"
#include "opscore/broker/memory/memory_foreign_broker.h"
#include "opscore/model/decide.h"
#include "opscore/store/memory/memory_store.h"
#include "opscore/store/sqlite/sqlite_store.h"

namespace opscore {
namespace {

using std::chrono_literals::operator""s;
using testing::HasSubstr;
using testing::StartsWith;

ServiceOptions service_options() {
  ServiceOptions options;
  options.declared.resize(1);
  options.declared[0].type = "mail.send";
  options.declared[0].kind = "native";
  return options;
}

class MemoryAccess final : public BrokerAccess {
 public:
  explicit MemoryAccess(ForeignBroker& broker) : broker_(broker) {}
  ForeignBroker& broker() override { return broker_; }
  std::optional<uint64_t> unanswered(const std::string&) override { return std::nullopt; }

 private:
  ForeignBroker& broker_;
};

class ClientCommandTest : public testing::Test {
 protected:
  ClientCommandTest() {
    server_.start();
    session_ = store_->fleet().open_session("test:1", "{}");
    config_.client.url = "http://127.0.0.1:" + std::to_string(server_.port()) + "/";
  }
  ~ClientCommandTest() override { server_.stop(Deadline::after(5s)); }

  // Runs a command line and keeps what it printed.
  int run(std::vector<std::string> args, const std::string& input = "") {
    auto line = parse_command_line(std::move(args));
    EXPECT_TRUE(line) << line.error().err;
    std::istringstream in(input);
    std::ostringstream out, err;
    auto api = make_http_api_client(config_);
    MemoryAccess rabbitmq(*broker_);
    ClientContext context{*line, config_, screen_, clock_, *api, rabbitmq, in, out, err};
    CommandExit status = find_client_command(line->command)(context);
    out_ = out.str();
    err_ = err.str();
    return static_cast<int>(status);
  }
  std::string submit(std::vector<std::string> options = {}) {
    options.insert(options.begin(), {"submit", "mail.send"});
    EXPECT_EQ(run(std::move(options)), 0) << err_;
    return out_.substr(0, out_.find('\n'));
  }
  ClaimedTask claim() {
    ClaimRequest request;
    request.session = session_;
    request.queues = {{"default", 1}};
    request.types = std::make_shared<std::vector<std::string>>(1, "mail.send");
    return store_->tasks().claim(request).tasks.at(0);
  }
  void finish(const ClaimedTask& task, const Outcome& outcome) {
    TimePoint now = clock_.now();
    store_->tasks().apply({decide_finish(task, outcome, now, now, random_)});
  }
  Json task(const std::string& id) {
    EXPECT_EQ(run({"tasks", "show", id, "--json"}), 0);
    return parse_json(out_);
  }

  SystemClock clock_;
  SeededRandom random_{7};
  std::unique_ptr<Log> log_ = silent_log();
  Metrics metrics_;
  std::unique_ptr<Store> store_ = open_memory_store(clock_, random_);
  Service service_{*store_, clock_, *log_, metrics_, service_options()};
  ApiServer server_{service_, metrics_, *log_, {.port = 0}};
  std::shared_ptr<MemoryForeignHub> hub_ = open_memory_foreign();
  std::unique_ptr<ForeignBroker> broker_ = hub_->connect();
  SessionId session_;
  Config config_;
  Screen screen_;
  std::string out_, err_;
};

TEST_F(ClientCommandTest, SubmitSendsWhatWasAsked) {
  std::string id = submit({"--input", "{\"n\": 1.00}", "--queue", "q", "--priority", "-7",
                           "--delay", "1h", "--max-attempts", "2", "--timeout", "9s", "--label",
                           "a=b=c", "--name", "x", "--task-id", "mine"});
  EXPECT_EQ(id, "mine");
  Json shown = task(id);
  EXPECT_THAT(out_, HasSubstr("{\"n\": 1.00}")) << "untouched";
  EXPECT_EQ(shown["queue"], "q");
  EXPECT_EQ(shown["priority"], -7);
  EXPECT_EQ(shown["status"], "scheduled");
  EXPECT_EQ(shown["max_attempts"], 2);
  EXPECT_EQ(shown["labels"], Json({{"a", "b=c"}}));
  EXPECT_EQ(shown["name"], "x");
}

TEST_F(ClientCommandTest, InputFromEverywhere) {
  EXPECT_EQ(task(submit({"--input", "-"}))["input_data"], "");
  run({"submit", "mail.send", "--input", "-", "--json"}, "two\nwords");
  EXPECT_EQ(task(parse_json(out_)["task_id"])["input_data"], "two\nwords");
  run({"submit", "mail.send", "--input", "-", "--json"}, " [1] ");
  EXPECT_EQ(task(parse_json(out_)["task_id"])["input_data"], Json::array({1}));
  auto file =
      std::filesystem::temp_directory_path() / ("opscore-input-" + std::to_string(getpid()));
  std::ofstream(file) << "# Title\n";
  EXPECT_EQ(task(submit({"--input", "@" + file.string()}))["input_data"], "# Title\n");
  std::ofstream(file) << "\xff\xfe";
  EXPECT_THROW(run({"submit", "mail.send", "--input", "@" + file.string()}), Error);
  std::filesystem::remove(file);
  EXPECT_THROW(run({"submit", "mail.send", "--input", "@" + file.string()}), Error);
  EXPECT_THROW(run({"submit", "mail.send", "--input", "{oops"}), Error);
  EXPECT_THROW(run({"submit", "mail.send", "--label", "nothing"}), Error);
}

TEST_F(ClientCommandTest, RefusalsAreInTheServersWords) {
  EXPECT_EQ(run({"submit", "mail.sent"}), 5);
  EXPECT_THAT(err_, StartsWith("opscore: submit mail.sent: "));
  EXPECT_THAT(err_, HasSubstr("mail.send"));
  EXPECT_EQ(run({"tasks", "show", "task_none"}), 3);
  EXPECT_EQ(run({"tasks", "cancel", "a/../b"}), 3);
  EXPECT_EQ(run({"tasks", "watch", "task_none"}), 3);
  EXPECT_EQ(run({"explain", "task_none"}), 3);
  EXPECT_EQ(run({"queues", "resume", "none"}), 3);
}

TEST_F(ClientCommandTest, WaitPrintsTheResult) {
  std::string id = submit();
  finish(claim(), Outcome::complete("\"two\\nlines\""));
  EXPECT_EQ(run({"submit", "mail.send", "--task-id", "w", "--wait=1ms"}), 6);
  EXPECT_THAT(err_, HasSubstr("not done after 1ms"));
  EXPECT_EQ(run({"tasks", "watch", id}), 0);
  EXPECT_EQ(out_, "two\nlines\n");
  finish(claim(), Outcome::fail({"actor_error", "exit code 3", "tail"}, false));
  EXPECT_EQ(run({"submit", "mail.send", "--task-id", "w", "--wait"}), 1) << "a replay";
  EXPECT_THAT(err_, HasSubstr("opscore: task w failed: actor_error: exit code 3\n  see: "));
  EXPECT_EQ(out_, "");
  EXPECT_EQ(run({"tasks", "watch", "w", "--json"}), 1);
  EXPECT_EQ(parse_json(out_)["status"], "failed");
  EXPECT_THROW(run({"submit", "mail.send", "--wait=soon"}), Error);
}

TEST_F(ClientCommandTest, WatchFollowsProgress) {
  std::string id = submit();
  ClaimedTask claimed = claim();
  store_->tasks().record_progress({{claimed.lease(), "{\"percent\":40}"}});
  std::thread watcher([&] { EXPECT_EQ(run({"tasks", "watch", id}), 0); });
  // The watcher may come before or after the end; what it prints is checked when it had seen it.
  finish(claimed, Outcome::complete("1"));
  watcher.join();
  EXPECT_THAT(out_, testing::EndsWith("1\n"));
}

TEST_F(ClientCommandTest, ListsWithFilters) {
  std::string id = submit({"--label", "a=b"});
  submit({"--queue", "other"});
  EXPECT_EQ(run({"tasks", "list", "--label", "a=b"}), 0);
  EXPECT_THAT(out_, StartsWith("ID\tSTATUS\tTYPE\tQUEUE\tATTEMPTS\tCREATED\tERROR\n" + id +
                               "\tpending\tmail.send\tdefault\t0/5\t"));
  EXPECT_EQ(std::count(out_.begin(), out_.end(), '\n'), 2);
  EXPECT_EQ(run({"tasks", "list", "--queue", "other", "--status", "pending,running", "--type",
                 "mail.send", "--since", "1h", "--json"}),
            0);
  EXPECT_EQ(parse_json(out_)["tasks"].size(), 1u);
  EXPECT_EQ(run({"tasks", "list", "--since", "2999-01-01T00:00:00Z", "--json"}), 0);
  EXPECT_EQ(parse_json(out_)["tasks"].size(), 0u);
  EXPECT_EQ(run({"tasks", "list", "--limit", "1"}), 0);
  EXPECT_THAT(err_, HasSubstr("--cursor "));
  EXPECT_EQ(run({"tasks", "list", "--status", "lost"}), 5);
  EXPECT_THROW(run({"tasks", "list", "--since", "yesterday"}), Error);
}

TEST_F(ClientCommandTest, ChangesTasks) {
  std::string id = submit();
  EXPECT_EQ(run({"tasks", "retry", id}), 5);
  EXPECT_EQ(run({"tasks", "cancel", id, "task_none"}), 3) << "the worst counts";
  EXPECT_EQ(out_, id + "\tcancelled\n");
  EXPECT_EQ(run({"tasks", "cancel", id}), 5);
  EXPECT_EQ(run({"tasks", "retry", id, "--input", "[2]"}), 0);
  EXPECT_EQ(out_, id + "\tpending\n");
  EXPECT_EQ(task(id)["input_data"], Json::array({2}));
  claim();
  EXPECT_EQ(run({"tasks", "cancel", id}), 0);
  EXPECT_THAT(out_, HasSubstr("being stopped"));
  std::string other = submit();
  EXPECT_EQ(run({"tasks", "delete", other}), 0);
  EXPECT_EQ(run({"tasks", "show", other}), 3);
}

TEST_F(ClientCommandTest, ShowsATaskForPeople) {
  std::string id = submit({"--input", "{\"a\":1}"});
  finish(claim(), Outcome::fail({"actor_error", "exit code 3", "line of stderr"}, true));
  EXPECT_EQ(run({"tasks", "show", id}), 0);
  for (const char* words : {"task_id       ", "scheduled", "{\"a\":1}", "actor_error: exit code 3",
                            "line of stderr", "ATTEMPT\tOUTCOME"})
    EXPECT_THAT(out_, HasSubstr(words));
}

TEST_F(ClientCommandTest, Queues) {
  submit({"--queue", "q"});
  EXPECT_EQ(run({"queues", "pause", "q"}), 0);
  EXPECT_EQ(out_, "q\tpaused\n");
  EXPECT_EQ(run({"queues"}), 0);
  EXPECT_THAT(out_, HasSubstr("q\tpaused\t1\t"));
  EXPECT_EQ(run({"queues", "resume", "q", "--json"}), 0);
  EXPECT_EQ(parse_json(out_)["paused"], false);
  screen_.terminal = true;
  EXPECT_EQ(run({"queues", "purge", "q"}, "n\n"), 1);
  EXPECT_EQ(run({"queues", "purge", "q"}, "y\n"), 0);
  EXPECT_EQ(out_, "q\t1 deleted\n");
  EXPECT_EQ(run({"queues", "purge", "q", "--yes"}), 0);
}

TEST_F(ClientCommandTest, WorkersActorsAndExplain) {
  EXPECT_EQ(run({"workers"}), 0);
  EXPECT_THAT(out_, HasSubstr("test:1"));
  EXPECT_EQ(run({"workers", "list", "--ended-within", "1h", "--json"}), 0);
  EXPECT_EQ(parse_json(out_)["workers"].size(), 1u);
  EXPECT_EQ(run({"actors"}), 0);
  EXPECT_THAT(out_, HasSubstr("mail.send\tnative"));
  std::string id = submit({"--delay", "1h"});
  EXPECT_EQ(run({"explain", id}), 0);
  EXPECT_THAT(out_, HasSubstr("due_later: "));
  EXPECT_THAT(out_, HasSubstr("next: opscore "));
  EXPECT_EQ(run({"explain", id, "--json"}), 0);
  EXPECT_EQ(parse_json(out_)["verdict"], "due_later");
}

TEST_F(ClientCommandTest, WithoutAServer) {
  server_.stop(Deadline::after(5s));
  try {
    run({"tasks", "list"});
    FAIL() << "there is no server";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::unavailable);
    EXPECT_THAT(error.message(), HasSubstr("opscore up"));
  }
}

TEST(OfflineClient, ReadsTheDataFile) {
  std::string name = (std::filesystem::temp_directory_path() / "opscore-offline-XXXXXX").string();
  std::string folder = mkdtemp(name.data());
  Config config;
  config.store.path = folder + "/opscore.db";
  EXPECT_THROW(make_offline_api_client(config), Error);
  SystemClock clock;
  SeededRandom random(7);
  auto log = silent_log();
  std::string id;
  {
    SqliteOptions options;
    options.path = config.store.path;
    auto store = open_sqlite_store(clock, random, *log, options);
    Metrics metrics;
    Service service(*store, clock, *log, metrics, service_options());
    SubmitRequest request;
    request.type = "mail.send";
    request.input = "[1.0]";
    id = service.submit(request).id;
  }
  auto api = make_offline_api_client(config);
  ApiAnswer shown = api->get("/tasks/" + id);
  EXPECT_EQ(shown.status, 200);
  EXPECT_EQ(raw_member(shown.body, "input_data"), "[1.0]");
  EXPECT_EQ(api->get("/tasks/task_none").status, 404);
  EXPECT_EQ(api->get("/tasks/" + id + "/attempts").status, 200);
  ApiAnswer explained = api->get("/tasks/" + id + "/explain");
  EXPECT_EQ(parse_json(explained.body)["verdict"], "server_down");
  EXPECT_EQ(api->get("/tasks/task_none/explain").status, 404);
  std::filesystem::remove_all(folder);
}

DramatiqMessage dead_message(const std::string& actor, const std::string& id) {
  DramatiqMessage message;
  message.queue_name = "mail";
  message.actor_name = actor;
  message.message_id = id;
  message.message_timestamp = "1000";
  message.options.set("retries", "2");
  return message;
}

TEST_F(ClientCommandTest, DeadMessagesAreShownAndSentBack) {
  for (const auto& [actor, id] : {std::pair{"send", "m1"}, {"other", "m2"}})
    broker_->publish(std::vector{ForeignMessage{
        "mail.XQ", encode_dramatiq(dead_message(actor, id)), {}, {{kReasonHeader, "too old"}}}});
  broker_->publish(std::vector{ForeignMessage{"mail.XQ", "junk", {}, {}}});
  EXPECT_EQ(run({"broker", "inspect", "mail.XQ", "--json"}), 0);
  Json seen = parse_json(out_);
  EXPECT_EQ(seen["queues"][0]["ready"], 3);
  EXPECT_EQ(seen["messages"][0]["why"], "too old");
  EXPECT_EQ(seen["messages"][0]["retries"], 2);
  EXPECT_THAT(seen["messages"][2]["why"].get<std::string>(), HasSubstr("not a Dramatiq message"));
  EXPECT_EQ(run({"broker", "inspect", "mail"}), 0);
  EXPECT_THAT(out_, HasSubstr("mail.DQ"));
  EXPECT_EQ(hub_->contents("mail.XQ").size(), 3u) << "a look takes nothing";

  EXPECT_EQ(run({"broker", "redrive", "mail", "--actor", "send", "--dry-run"}), 0);
  EXPECT_THAT(out_, HasSubstr("would be redriven 1 of 1"));
  EXPECT_EQ(run({"broker", "redrive", "mail", "--actor", "send"}), 0);
  ASSERT_EQ(hub_->contents("mail").size(), 1u);
  const DramatiqMessage back = decode_dramatiq(hub_->contents("mail")[0].body).value();
  EXPECT_EQ(back.message_id, "m1");
  EXPECT_EQ(back.options.encode(), R"({"opscore_attempts":3})");
  EXPECT_EQ(hub_->contents("mail.XQ").size(), 2u);
  EXPECT_EQ(run({"broker", "redrive", "mail", "--reason", "not a"}), 5) << "junk stays";
  EXPECT_THAT(err_, HasSubstr("left: "));

  EXPECT_EQ(run({"broker", "purge", "mail.XQ", "--older-than", "1h", "--json"}), 0);
  EXPECT_EQ(parse_json(out_)["purged"], 1);
  EXPECT_EQ(hub_->contents("mail.XQ").size(), 1u);
}

TEST_F(ClientCommandTest, ABrokersQueueThatIsNotThereIsSaidToBe) {
  auto error = [&](std::vector<std::string> args) {
    try {
      run(std::move(args));
    } catch (const Error& caught) {
      return client_exit_status(caught.code());
    }
    return CommandExit::ok;
  };
  EXPECT_EQ(error({"broker", "inspect", "nowhere"}), CommandExit::not_found);
  EXPECT_EQ(error({"broker", "purge", "nowhere"}), CommandExit::not_found);
  hub_->set_away(true);
  EXPECT_EQ(error({"broker", "inspect", "mail"}), CommandExit::unreachable);
}

TEST_F(ClientCommandTest, ATestMessageSaysWhereItIs) {
  EXPECT_EQ(run({"send-test", "--queue", "mail", "--actor", "x", "--wait", "0s"}), 6);
  EXPECT_THAT(out_, HasSubstr("sent"));
  EXPECT_THAT(out_, HasSubstr("nobody consumes 'mail'"));
  const DramatiqMessage sent = decode_dramatiq(hub_->contents("mail").at(0).body).value();
  EXPECT_EQ(sent.actor_name, "x");
  EXPECT_EQ(sent.options.encode(), "{}");
  EXPECT_EQ(sent.kwargs, R"({"task_id":"send-test-)" + sent.message_id + R"("})");
}

TEST_F(ClientCommandTest, ATestOfAPythonActorFollowsItsTask) {
  CatalogueEntry entry;
  entry.type = "resize";
  entry.kind = "dramatiq";
  entry.dramatiq = "{}";
  service_.declare({entry});
  EXPECT_EQ(run({"send-test", "--actor", "resize", "--input", "[1]", "--wait", "0s", "--json"}), 6);
  EXPECT_THAT(out_, HasSubstr(R"("hop":"submitted")"));
  EXPECT_THAT(out_, HasSubstr("not on queue 'default' yet")) << "no leader publishes here";
}

TEST_F(ClientCommandTest, AWorkerIsShownWithWhereItRuns) {
  store_->fleet().describe(session_, R"({"cwd": "/srv/app", "argv": ["opscore", "up"],
      "signals": {"blocked": [], "ignored": ["SIGPIPE"]}, "unheard_of": 1,
      "parents": [{"pid": 7, "argv": ["-bash"]}]})");
  EXPECT_EQ(run({"workers", "show", "worker-1"}), 0) << err_;
  EXPECT_THAT(out_, StartsWith("worker-1  test:1  starting\n"));
  for (const char* line : {"\n  argv             opscore up\n", "\n  cwd              /srv/app\n",
                           "\n    ignored          SIGPIPE\n", "\n    7                -bash\n",
                           "\n    blocked          none\n", "\n  unheard_of       1\n"})
    EXPECT_THAT(out_, HasSubstr(line));
  EXPECT_EQ(run({"workers", "show", "1", "--json"}), 0);
  EXPECT_EQ(parse_json(out_)["context"]["cwd"], "/srv/app");
  EXPECT_EQ(run({"workers", "show", "worker-9"}), 3);
}

TEST_F(ClientCommandTest, WhatDiffersBetweenTwoWorkersIsShown) {
  store_->fleet().describe(session_, R"({"stdout": "terminal /dev/pts/1", "umask": "0022"})");
  const SessionId other = store_->fleet().open_session("test:2", "{}");
  store_->fleet().describe(other, R"({"stdout": "pipe", "umask": "0077"})");
  EXPECT_EQ(run({"workers", "diff", "1", "worker-2"}), 0) << err_;
  EXPECT_THAT(out_, StartsWith("stdout: "));
  EXPECT_THAT(out_, HasSubstr("\n  worker-1  terminal /dev/pts/1\n  worker-2  pipe\numask: "));
  EXPECT_EQ(run({"workers", "diff", "2", "2"}), 0);
  EXPECT_THAT(out_, StartsWith("nothing differs"));
  EXPECT_EQ(run({"workers", "diff", "2", "9"}), 3);
}

}  // namespace
}  // namespace opscore
