#include "opscore/app/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "opscore/app/config_fields.h"
#include "opscore/app/config_show.h"

namespace opscore {
namespace {

using std::chrono_literals::operator""s;
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""h;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;

// A folder of its own for each test, removed afterwards.
class ConfigTest : public testing::Test {
 protected:
  ConfigTest() {
    std::string name = (std::filesystem::temp_directory_path() / "opscore-config-XXXXXX").string();
    folder_ = mkdtemp(name.data());
    sources_.directory = folder_;
    sources_.cpus = 2;
  }
  ~ConfigTest() override { std::filesystem::remove_all(folder_); }

  void write(const std::string& name, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(path(name)).parent_path());
    std::ofstream(path(name), std::ios::binary) << text;
  }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  Config load() { return load_config(sources_); }
  std::string failure() {
    try {
      load();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Errc::invalid);
      return error.message();
    }
    return "";
  }

  std::string folder_;
  ConfigSources sources_;
};

TEST_F(ConfigTest, ALogThatCannotBeWrittenIsFoundByTheCheck) {
  sources_.role = Role::inspect;
  write("opscore.toml", "[log]\nfile = \"logs/opscore.log\"\n");
  EXPECT_THAT(failure(), HasSubstr("opscore.toml:2: log.file: " + path("logs/opscore.log") +
                                   " cannot be made in " + path("logs")));
  sources_.role = Role::client;
  EXPECT_EQ(failure(), "") << "it writes none";
  sources_.role = Role::worker;
  sources_.environment["DATABASE_URL"] = "postgresql://localhost/opscore";
  EXPECT_THAT(failure(), HasSubstr("log.file"));
  std::filesystem::create_directories(path("logs/opscore.log"));
  EXPECT_THAT(failure(), HasSubstr("opscore.toml:2: log.file: " + path("logs/opscore.log") +
                                   " is a directory"));
  std::filesystem::remove(path("logs/opscore.log"));
  EXPECT_EQ(failure(), "");
  EXPECT_FALSE(std::filesystem::exists(path("logs/opscore.log"))) << "a check makes nothing";
  write("logs/opscore.log", "a line\n");
  EXPECT_EQ(failure(), "");
}

TEST_F(ConfigTest, DefaultsNeedNothing) {
  Config config = load();
  EXPECT_EQ(config.server.address, "127.0.0.1");
  EXPECT_EQ(config.server.port, 8000);
  EXPECT_EQ(config.store.path, path("opscore-data/opscore.db"));
  EXPECT_EQ(config.store.disk_reserve.value, 64 << 20);
  EXPECT_EQ(config.worker.slots, 8);
  EXPECT_THAT(config.worker.queues, ElementsAre(QueueWeight{"*", 1}));
  EXPECT_EQ(config.worker.drain_grace, 30s);
  EXPECT_EQ(config.retention.completed, 168h);
  EXPECT_EQ(config.server_url(), "http://127.0.0.1:8000");
  EXPECT_THAT(config.notes, IsEmpty());
  for (const auto& setting : shown_settings(config)) EXPECT_EQ(setting.origin, "default");
}

TEST_F(ConfigTest, SlotsFollowTheCpus) {
  sources_.cpus = 16;
  EXPECT_EQ(load().worker.slots, 64);
}

TEST_F(ConfigTest, TheStrongerSourceWins) {
  write("opscore.toml", "[server]\nport = 1001\n");
  EXPECT_EQ(load().server.port, 1001);
  EXPECT_EQ(load().origin_of("server.port").words(), path("opscore.toml") + ":2");
  write(".env", "# first\nOPSCORE_SERVER_PORT=1002\n");
  EXPECT_EQ(load().server.port, 1002);
  EXPECT_EQ(load().origin_of("server.port").words(), path(".env") + ":2: OPSCORE_SERVER_PORT");
  sources_.environment["OPSCORE_SERVER_PORT"] = "1003";
  EXPECT_EQ(load().server.port, 1003);
  EXPECT_EQ(load().origin_of("server.port").words(), "environment: OPSCORE_SERVER_PORT");
  sources_.flags["server.port"] = "1004";
  EXPECT_EQ(load().server.port, 1004);
  EXPECT_EQ(load().origin_of("server.port").words(), "--port");
}

TEST_F(ConfigTest, EmptyMeansUnset) {
  write("opscore.toml", "[server]\nport = 1001\naddress = \"\"\n");
  write(".env", "OPSCORE_SERVER_PORT=\n");
  sources_.environment["OPSCORE_SERVER_PORT"] = "";
  EXPECT_EQ(load().server.port, 1001);
  EXPECT_EQ(load().server.address, "127.0.0.1");
}

TEST_F(ConfigTest, DotenvCanBeLeftAlone) {
  write(".env", "OPSCORE_SERVER_PORT=1002\n");
  sources_.use_dotenv = false;
  EXPECT_EQ(load().server.port, 8000);
}

TEST_F(ConfigTest, AdoptingTakesABroker) {
  sources_.role = Role::up;
  sources_.flags["broker.rabbitmq.adopt"] = "default,emails";
  EXPECT_THAT(failure(), HasSubstr("nothing says where RabbitMQ is"));
  sources_.flags["broker.url"] = "amqp://localhost";
  EXPECT_THAT(load().broker.rabbitmq.adopt, ElementsAre("default", "emails"));
}

TEST_F(ConfigTest, ResultsTakeARedisThatCanBeSpokenTo) {
  sources_.role = Role::up;
  sources_.environment["REDIS_URL"] = "rediss://:hunter22@h";
  EXPECT_EQ(failure(), "");  // another program's: nothing here uses it
  sources_.flags["broker.url"] = "amqp://localhost";
  EXPECT_THAT(failure(),
              AllOf(HasSubstr("REDIS_URL"), HasSubstr("stunnel"), Not(HasSubstr("hunter22"))));
  sources_.environment["OPSCORE_RESULTS_URL"] = "redis://:hunter22@h";
  EXPECT_EQ(load().results.url, "redis://:hunter22@h");
}

TEST_F(ConfigTest, StoringResultsTakesAPlaceForThem) {
  sources_.flags["broker.url"] = "amqp://localhost";
  sources_.environment["OPSCORE_RESULTS_ACTORS"] = "*";
  EXPECT_THAT(failure(), HasSubstr("set results.url"));
}

// One of each setting, other than its default.
const std::map<std::string, std::string> kValues = {{"server.address", "127.0.0.9"},
                                                    {"server.port", "81"},
                                                    {"server.token", "secret-token"},
                                                    {"server.token_file", "token"},
                                                    {"server.allow_unauthenticated", "true"},
                                                    {"server.allowed_hosts", "a.example,b"},
                                                    {"server.connections_max", "50"},
                                                    {"server.client_timeout", "3s"},
                                                    {"probes.port", "82"},
                                                    {"probes.address", "127.0.0.8"},
                                                    {"api.compat", "ops-core"},
                                                    {"store.path", "x.db"},
                                                    {"store.url", "sqlite:///y.db"},
                                                    {"store.disk_reserve", "1MiB"},
                                                    {"store.direct_url", "postgresql://h/d"},
                                                    {"store.schema", "tasks"},
                                                    {"store.exports", "exports"},
                                                    {"broker.url", "amqp://localhost"},
                                                    {"broker.management_url", "http://localhost"},
                                                    {"broker.management_url", "http://h:15672"},
                                                    {"broker.rabbitmq.adopt", "mail"},
                                                    {"broker.rabbitmq.max_priority", "9"},
                                                    {"broker.rabbitmq.dead_message_ttl", "3s"},
                                                    {"results.url", "redis://h"},
                                                    {"results.namespace", "mine"},
                                                    {"results.namespace_keys", "true"},
                                                    {"results.actors", "add,*"},
                                                    {"results.ttl", "3s"},
                                                    {"results.barrier_ttl", "3s"},
                                                    {"worker.slots", "3"},
                                                    {"worker.queues", "mail=2"},
                                                    {"worker.drain_grace", "3s"},
                                                    {"python.modules", "app.tasks"},
                                                    {"python.kind", "dramatiq"},
                                                    {"python.path", "lib"},
                                                    {"python.interpreter", "/usr/bin/python3"},
                                                    {"python.processes", "2"},
                                                    {"python.threads", "3"},
                                                    {"python.max_memory", "1GiB"},
                                                    {"python.max_tasks", "9"},
                                                    {"python.take_logging", "false"},
                                                    {"python.watch", "lib"},
                                                    {"python.watch_include", "*.py"},
                                                    {"python.watch_exclude", "*.pyc"},
                                                    {"retention.completed", "3s"},
                                                    {"retention.failed", "3s"},
                                                    {"log.level", "debug"},
                                                    {"log.format", "json"},
                                                    {"log.file", "log"},
                                                    {"sandbox.mode", "preferred"},
                                                    {"agent.provider", "ollama"},
                                                    {"agent.model", "m"},
                                                    {"agent.planner", "react"},
                                                    {"agent.memory", "none"},
                                                    {"agent.max_steps", "7"},
                                                    {"webhooks.secret", "s"},
                                                    {"webhooks.timeout", "3s"},
                                                    {"webhooks.max_attempts", "3"},
                                                    {"net.allow", "10.0.0.0/8,::1"},
                                                    {"client.url", "http://h:1"}};

// Each setting can be set from each place that its row names, and its origin says so.
// layout: table
TEST_F(ConfigTest, EverySettingHasItsOrigin) {
  write("token", "file-token-1\n");
  for (const auto& field : config_fields()) {
    if (!field.variables.empty() || *field.flag != '\0') {
      ASSERT_TRUE(kValues.contains(field.key)) << field.key << " has no value in this test";
    }
    for (std::string variable : field.variables) {
      sources_.environment = {{variable, kValues.at(field.key)}};
      EXPECT_EQ(load().origin_of(field.key).words(), "environment: " + variable);
      sources_.environment.clear();
      write(".env", variable + "=" + kValues.at(field.key));
      EXPECT_EQ(load().origin_of(field.key).words(), path(".env") + ":1: " + variable);
      std::filesystem::remove(path(".env"));
    }
    if (*field.flag == '\0') continue;
    sources_.flags = {{field.key, kValues.at(field.key)}};
    EXPECT_EQ(load().origin_of(field.key).words(), field.flag);
    sources_.flags.clear();
  }
}

TEST_F(ConfigTest, ReportsAllProblemsWithTheirLines) {
  write("opscore.toml",
        "[server]\nprot = 8001\nport = \"eight\"\n\n[worker]\nslots = 0\ndrain_grace = \"soon\"\n"
        "[sever]\nport = 1\n[log]\nlevel = \"loud\"\n");
  sources_.environment["OPSCORE_RETENTION_FAILED"] = "forever";
  std::string words = failure();
  std::string file = path("opscore.toml");
  EXPECT_THAT(words, HasSubstr(file + ":2: server.prot is not a setting; did you mean 'port'?"));
  EXPECT_THAT(words, HasSubstr(file + ":3: server.port must be a whole number from 0 to 65535, "
                                      "not \"eight\""));
  EXPECT_THAT(words, HasSubstr(file + ":6: worker.slots must be a whole number from 1 to 1024"));
  EXPECT_THAT(words, HasSubstr(file + ":7: worker.drain_grace must be a duration"));
  EXPECT_THAT(words, HasSubstr(file + ":8: sever is not a setting; did you mean 'server'?"));
  EXPECT_THAT(words, HasSubstr(file + ":11: log.level must be one of trace, debug"));
  EXPECT_THAT(
      words,
      HasSubstr("environment: OPSCORE_RETENTION_FAILED: retention.failed must be a duration"));
  EXPECT_EQ(std::count(words.begin(), words.end(), '\n'), 6);
}

TEST_F(ConfigTest, SyntaxErrorsHaveALine) {
  write("opscore.toml", "[server]\nport = \n");
  EXPECT_THAT(failure(), HasSubstr(path("opscore.toml") + ":2: column"));
  write("opscore.toml", "[server]\nport = 1\nport = 2\n");
  EXPECT_THAT(failure(), HasSubstr(path("opscore.toml") + ":3:"));
}

TEST_F(ConfigTest, TypesAreNotGuessed) {
  for (const char* line : {"server.port = \"8000\"",
                           "server.port = 1.5",
                           "server.port = true",
                           "server.port = 65536",
                           "server.port = -1",
                           "server.address = 1",
                           "server.allow_unauthenticated = \"true\"",
                           "server.allowed_hosts = \"tasks.example\"",
                           "server.allowed_hosts = [\"http://tasks.example\"]",
                           "server.connections_max = 0",
                           "server.client_timeout = \"1ms\"",
                           "api.compat = \"opscore\"",
                           "server = 1",
                           "worker.queues = \"mail\"",
                           "worker.queues = [\"mail=x\"]",
                           "worker.queues = [\"mail\", \"mail\"]",
                           "worker.queues = [\"a.DQ\"]",
                           "worker.queues = {mail = 0}",
                           "retention.completed = -1",
                           "retention.completed = true",
                           "store.disk_reserve = \"lots\"",
                           "retention.types = {\"a b\" = \"1h\"}",
                           "log.level = [\"info\"]",
                           "server.port = 2020-01-01",
                           "actors = 1",
                           "actors.x = 1"}) {
    write("opscore.toml", line);
    EXPECT_THAT(failure(), HasSubstr("opscore.toml:1: ")) << line;
  }
}

TEST_F(ConfigTest, QueuesInAllSpellings) {
  std::vector<QueueWeight> expected = {{"default", 1}, {"mail", 3}};
  write("opscore.toml", "[worker]\nqueues = [\"default\", \"mail=3\"]\n");
  EXPECT_EQ(load().worker.queues, expected);
  write("opscore.toml", "[worker.queues]\ndefault = 1\nmail = 3\n");
  EXPECT_EQ(load().worker.queues, expected);
  sources_.environment["OPSCORE_WORKER_QUEUES"] = "*=2,mail";
  EXPECT_THAT(load().worker.queues, ElementsAre(QueueWeight{"*", 2}, QueueWeight{"mail", 1}));
}

TEST_F(ConfigTest, RelativePathsStartWhereTheyAreWritten) {
  write("etc/opscore.toml", "[store]\npath = \"data/a.db\"\n");
  sources_.config_file = "etc/opscore.toml";
  EXPECT_EQ(load().store.path, path("etc/data/a.db"));
  sources_.environment["OPSCORE_DATA"] = "b.db";
  EXPECT_EQ(load().store.path, path("b.db"));
  sources_.environment["OPSCORE_DATA"] = "/c.db";
  EXPECT_EQ(load().store.path, "/c.db");
}

TEST_F(ConfigTest, AFolderStandsForTheDataFileInIt) {
  write("there/x", "");
  for (const char* folder : {"there", "there/", "there/../there/.", "not-yet/"}) {
    sources_.environment["OPSCORE_DATA"] = folder;
    EXPECT_THAT(load().store.path,
                EndsWith(folder[0] == 't' ? "/there/opscore.db" : "/not-yet/opscore.db"));
  }
  sources_.environment.clear();
  sources_.environment["DATABASE_URL"] = "sqlite:///" + path("there");
  EXPECT_EQ(load().store.path, path("there/opscore.db"));
}

TEST_F(ConfigTest, ANamedFileMustExist) {
  sources_.config_file = "nowhere.toml";
  EXPECT_THAT(failure(), HasSubstr(path("nowhere.toml") + ": no such file"));
}

TEST_F(ConfigTest, UnknownVariables) {
  write(".env", "OTHER=1\nOPSCORE_SERVER_PROT=1\n");
  EXPECT_THAT(failure(), HasSubstr(path(".env") + ":2: OPSCORE_SERVER_PROT: is not a setting; did "
                                                  "you mean 'OPSCORE_SERVER_PORT'?"));
  write(".env", "OTHER=1\n");
  sources_.environment = {{"OPSCORE_SERVER_PROT", "1"}, {"OPSCORE_TASK_ID", "task_1"}};
  EXPECT_THAT(
      load().notes,
      ElementsAre(HasSubstr("environment: OPSCORE_SERVER_PROT: is not a setting; did you")));
}

TEST_F(ConfigTest, KubernetesServiceLinksAreNotSettings) {
  sources_.environment = {{"OPSCORE_SERVER_PORT", "tcp://10.0.0.1:8000"},
                          {"OPSCORE_SERVICE_HOST", "10.0.0.1"}};
  Config config = load();
  EXPECT_EQ(config.server.port, 8000);
  EXPECT_EQ(config.notes.size(), 2);
}

TEST_F(ConfigTest, ReferencesInDotenvAreRefusedWhereTheyMatter) {
  write(".env", "PROMPT='${USER}'\nOTHER=${HOME}/x\n");
  EXPECT_EQ(failure(), "");
  write(".env", "OPSCORE_DATA=${HOME}/x\n");
  EXPECT_THAT(failure(), HasSubstr(".env:1: OPSCORE_DATA: contains ${...}"));
}

TEST_F(ConfigTest, LookupSeesEnvironmentOverDotenv) {
  write(".env", "OPENAI_API_KEY=from-file\nEMPTY=\nA=1\n");
  sources_.environment = {{"OPENAI_API_KEY", "from-environment"}};
  Config config = load();
  EXPECT_EQ(config.lookup("OPENAI_API_KEY"), "from-environment");
  EXPECT_EQ(config.lookup("A"), "1");
  EXPECT_EQ(config.lookup("EMPTY"), std::nullopt);
}

TEST_F(ConfigTest, AgentkitVariables) {
  sources_.environment = {{"AGENTKIT_LLM_PROVIDER", "ollama"}, {"AGENTKIT_LLM_MODEL", "llama3"}};
  EXPECT_EQ(load().agent.provider, "ollama");
  EXPECT_EQ(load().agent.model, "llama3");
  sources_.environment = {{"AGENTKIT_LLM_PROVIDER", "olama"}};
  EXPECT_THAT(failure(), HasSubstr("agent.provider 'olama' is not known; known: openai"));
  sources_.environment = {{"AGENTKIT_PLANNER_TYPE", "tree"}};
  EXPECT_THAT(failure(), HasSubstr("agent.planner must be one of react"));
}

TEST_F(ConfigTest, ATokenFromTheStrongerSource) {
  write("secret", "  file-token-12\n");
  write("opscore.toml", "[server]\ntoken_file = \"secret\"\n");
  EXPECT_EQ(load().server.token, "file-token-12");
  sources_.environment["OPSCORE_API_TOKEN"] = "environment-token";
  EXPECT_EQ(load().server.token, "environment-token");
  sources_.flags["server.token_file"] = "secret";
  EXPECT_EQ(load().server.token, "file-token-12");
  sources_.environment["OPSCORE_API_TOKEN_FILE"] = "secret";
  sources_.flags.clear();
  EXPECT_THAT(failure(), HasSubstr("keep one"));
}

TEST_F(ConfigTest, ATokenFileMustHoldAToken) {
  sources_.role = Role::up;
  sources_.flags["server.token_file"] = "secret";
  EXPECT_THAT(failure(), HasSubstr("--token-file: server.token_file: "));
  for (const char* bad : {"", "short", "two words-12", "two\nlines-12"}) {
    write("secret", bad);
    EXPECT_THAT(failure(), HasSubstr("one token of at least 8 characters")) << bad;
  }
}

TEST_F(ConfigTest, BindingBeyondLoopbackNeedsAToken) {
  sources_.role = Role::up;
  for (const char* fine : {"127.0.0.1", "127.1.2.3", "::1", "localhost"}) {
    sources_.flags["server.address"] = fine;
    EXPECT_EQ(failure(), "") << fine;
  }
  for (const char* open : {"0.0.0.0", "::", "10.0.0.1"}) {
    sources_.flags["server.address"] = open;
    EXPECT_THAT(failure(),
                testing::AllOf(HasSubstr("--address: "), HasSubstr("OPSCORE_API_TOKEN"),
                               HasSubstr("127.0.0.1"), HasSubstr("--allow-unauthenticated")));
  }
  sources_.environment["OPSCORE_API_TOKEN"] = "long-enough";
  EXPECT_EQ(failure(), "");
  sources_.environment.clear();
  sources_.flags["server.allow_unauthenticated"] = "true";
  EXPECT_EQ(failure(), "");
  sources_.flags["server.address"] = "example.org:80";
  EXPECT_THAT(failure(), HasSubstr("must be an IP address"));
}

TEST_F(ConfigTest, AFolderIsWatchedForModules) {
  sources_.role = Role::up;
  sources_.flags["python.watch"] = ".";
  EXPECT_THAT(failure(), HasSubstr("--watch: python.watch: there are no modules"));
  sources_.flags["python.modules"] = "app";
  EXPECT_EQ(failure(), "");
}

TEST_F(ConfigTest, AFlagMayHaveAnotherName) {
  sources_.flags["python.processes"] = "0";
  sources_.flag_names["python.processes"] = "-p,--processes";
  EXPECT_THAT(failure(), HasSubstr("-p,--processes: python.processes must be"));
}

TEST_F(ConfigTest, RolesAndStores) {
  sources_.environment["DATABASE_URL"] =
      "postgresql+asyncpg://u:hunter22@db/x?prepared=1&sslmode=allow";
  for (Role role : {Role::up, Role::api, Role::worker, Role::maintenance, Role::migrate}) {
    sources_.role = role;
    Config config = load();
    EXPECT_EQ(config.store.url, "postgresql://u:hunter22@db/x?sslmode=allow");
    EXPECT_EQ(config.store.schema, "opscore");
    EXPECT_EQ(config.store.exports, "./opscore-data/exports");
    EXPECT_THAT(config.notes, ElementsAre(HasSubstr("+asyncpg"), HasSubstr("'prepared'")));
  }
  sources_.role = Role::up;
  sources_.flags["store.path"] = "x.db";
  EXPECT_EQ(load().store.url, "");
  EXPECT_EQ(load().store.exports, load().store.path + ".exports");
  sources_.flags.clear();
  sources_.environment.clear();
  write("opscore.toml", "");
  for (Role role : {Role::api, Role::worker, Role::maintenance}) {
    sources_.role = role;
    EXPECT_THAT(failure(),
                testing::AllOf(HasSubstr("DATABASE_URL"), HasSubstr(path(".env") + " (not there)"),
                               HasSubstr(path("opscore.toml") + " (read)")));
  }
}

TEST_F(ConfigTest, ProbesBeyondLoopbackNeedAToken) {
  sources_.environment["DATABASE_URL"] = "postgresql://db/x";
  sources_.flags["probes.address"] = "0.0.0.0";
  sources_.role = Role::worker;
  EXPECT_EQ(failure(), "");  // nobody listens
  sources_.flags["probes.port"] = "9100";
  EXPECT_THAT(failure(), HasSubstr("--probes-address: probes.address 0.0.0.0 is reachable"));
  sources_.environment["OPSCORE_API_TOKEN"] = "long-enough";
  EXPECT_EQ(failure(), "");
}

TEST_F(ConfigTest, NamesOfSchemas) {
  for (const char* fine : {"opscore", "_x", "tenant_7"}) {
    sources_.environment["OPSCORE_STORE_SCHEMA"] = fine;
    EXPECT_EQ(load().store.schema, fine);
  }
  for (const char* bad : {"Opscore", "7up", "pg_tasks", "a-b", "a\"b"}) {
    sources_.environment["OPSCORE_STORE_SCHEMA"] = bad;
    EXPECT_THAT(failure(), HasSubstr("OPSCORE_STORE_SCHEMA")) << bad;
  }
}

TEST_F(ConfigTest, LimitsOfQueuesAreForMaintenance) {
  sources_.environment["DATABASE_URL"] = "postgresql://db/x";
  write("opscore.toml", "[queues.mail]\nmax_pending = 3\n");
  for (Role role : {Role::api, Role::worker}) {
    sources_.role = role;
    EXPECT_THAT(load().notes, ElementsAre(HasSubstr("opscore maintenance")));
  }
  sources_.role = Role::maintenance;
  EXPECT_THAT(load().notes, IsEmpty());
}

TEST_F(ConfigTest, SqliteUrls) {
  sources_.environment["DATABASE_URL"] = "sqlite+aiosqlite:////var/x.db";
  EXPECT_EQ(load().store.path, "/var/x.db");
  EXPECT_EQ(load().origin_of("store.path").words(), "environment: DATABASE_URL");
  EXPECT_THAT(load().notes, ElementsAre(HasSubstr("+aiosqlite")));
  sources_.environment["OPSCORE_DATA"] = "/var/y.db";
  EXPECT_THAT(failure(), HasSubstr("store.url names /var/x.db, but store.path"));
  sources_.flags["store.path"] = "/var/z.db";
  EXPECT_EQ(load().store.path, "/var/z.db");
}

TEST_F(ConfigTest, SecretsAreMasked) {
  sources_.environment = {{"OPSCORE_API_TOKEN", "hunter22-token"},
                          {"DATABASE_URL", "postgresql://u:hunter22@h/d"},
                          {"RABBITMQ_URL", "amqp://u:hunter22@h"}};
  write("opscore.toml",
        "[actors.a]\ncommand = [\"true\"]\nenv = {KEY = \"hunter22\"}\nqueue = \"hunter\"\n");
  sources_.role = Role::inspect;
  Config config = load();
  std::string text = config_text(config) + config_json(config).dump();
  EXPECT_THAT(text, testing::Not(HasSubstr("hunter22")));
  EXPECT_THAT(text, HasSubstr("postgresql://u:***@h/d"));
  EXPECT_THAT(text, HasSubstr("environment: OPSCORE_API_TOKEN"));
  sources_.environment["OPSCORE_API_TOKEN"] = "hunter 22";
  EXPECT_THAT(failure(), testing::Not(HasSubstr("hunter 22")));
}

}  // namespace
}  // namespace opscore
