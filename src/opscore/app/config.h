#pragma once
// The configuration of a process: every value, and where it came from.
//
//   flag > environment > .env in the working directory > opscore.toml > default
//
// load_config() reads all sources, checks everything, and either answers a complete Config or
// throws one Error{invalid} that lists every problem, each with its file and line. It has no
// globals and looks at nothing but what ConfigSources names. Single-threaded; a loaded Config is
// only read and may be shared. config_fields.cc holds the table of settings that drives parsing,
// `config show` and docs/reference/config.md.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "opscore/app/config_types.h"
#include "opscore/app/python_config.h"
#include "opscore/base/error.h"
#include "opscore/model/limits.h"
#include "opscore/model/task.h"

namespace opscore {

// Where a value came from; a later one wins over an earlier one.
enum class Source : uint8_t { fallback, file, dotenv, environment, flag };

struct Origin {
  Source source = Source::fallback;
  std::string file;  // of the file, when it is one
  int line = 0;
  std::string name;  // of the variable or flag
  // "opscore.toml:12", ".env:3 OPSCORE_SERVER_PORT", "environment OPSCORE_DATA", "--port",
  // "default"
  std::string words() const;
};
using Origins = std::map<std::string, Origin>;  // by key; what is absent has its default

// [actors.NAME]
struct ActorConfig {
  std::string name;
  Origin origin;
  Origins origins;

  std::string kind;
  std::vector<std::string> command;
  std::string program;  // what command[0] resolves to; filled by the check
  std::string cwd;      // empty: the server's
  std::string output;   // text, json; empty: as the kind has it
  std::map<std::string, std::string> env;
  std::string url;
  std::map<std::string, std::string> headers;  // ${NAME} is replaced by the check
  std::string secret;                          // from secret_env, when that is what was configured
  std::string secret_env;
  std::string queue;
  std::string version;
  std::string description;
  std::vector<std::string> aliases;
  SchemaText input_schema;
  SchemaText options;  // of Dramatiq's messages
  std::optional<Duration> timeout;
  std::optional<int> max_attempts;  // 0: unlimited
  RetryPolicy backoff;
  int concurrency = 0;  // 0: as many as there are slots
  Duration stop_grace{0};
  Bytes result_max;
  std::map<int, ExitCode> exit_codes;
  std::string sandbox;  // off, preferred, required; filled from sandbox.mode by the check
  bool network = false;
  std::vector<std::string> read;
  std::vector<std::string> write;
  Bytes tmp_max;
  struct Limits {  // 0: none
    Bytes memory;
    Duration cpu{0};
    int open_files = 0;
    Bytes file_size;
    int processes = 0;
    double cpus = 0;
  } limits;

  // The backoff, when any part of it was configured.
  std::optional<RetryPolicy> retry() const;
};

// [queues.NAME]: limits, unless others are set while running.
struct QueueConfig {
  std::string name;
  Origin origin;
  Origins origins;

  std::optional<int> max_pending;
  std::optional<int> concurrency;
  Bytes max_input;  // 0: not set
};

// [agent.providers.NAME]
struct AgentProviderConfig {
  std::string name;
  Origin origin;
  Origins origins;

  std::string kind;  // openai, scripted; empty: the built-in of that name
  std::string base_url;
  std::string api_key_env;
  std::string model;
  std::string script;
};

struct Config {
  struct Server {
    std::string address;
    int port = 0;       // 0: any free one
    std::string token;  // from token_file, when that is what was configured
    std::string token_file;
    bool allow_unauthenticated = false;
    std::vector<std::string> allowed_hosts;
    int connections_max = 0;
    Duration client_timeout{0};
  } server;
  struct Probes {  // of roles without an API
    std::string address;
    std::optional<int> port;  // none: nobody listens
  } probes;
  struct Api {
    std::string compat;
  } api;
  struct Store {
    std::string path;
    std::string url;         // postgresql://..., normalised; empty on SQLite
    std::string direct_url;  // of the same database, past a pooler
    std::string schema;
    std::string exports;  // the folder of what bulk jobs export; filled by the check
    Bytes disk_reserve;
  } store;
  struct Broker {
    std::string url;
    std::string management_url;
    struct RabbitMq {
      std::vector<std::string> adopt;  // queues of Dramatiq
      std::optional<int> max_priority;
      Duration dead_message_ttl{0};
    } rabbitmq;
  } broker;
  struct Results {  // of Dramatiq's messages
    std::string url;
    std::string name_space;
    bool namespace_keys = false;
    std::vector<std::string> actors;  // that store results unless the message says; "*": all
    Duration ttl{0};
    Duration barrier_ttl{0};
  } results;
  struct Worker {
    int slots = 0;
    std::vector<QueueWeight> queues;  // "*" stands for all that are not named
    Duration drain_grace{0};
  } worker;
  PythonConfig python;
  struct Retention {
    Duration completed{0};
    Duration failed{0};
    std::map<std::string, Duration> types;  // of completed tasks
  } retention;
  struct Log {
    std::string level;
    std::string format;
    std::string file;
  } log;
  struct Sandbox {
    std::string mode;
    std::string program;  // the bwrap that works here; filled by the check when an actor needs it
    std::string problem;  // else why there is none
  } sandbox;
  struct Agent {
    std::string provider;
    std::string model;
    std::string planner;
    std::string memory;
    int max_steps = 0;
    std::vector<AgentProviderConfig> providers;
  } agent;
  struct Webhooks {
    std::string secret;
    Duration timeout{0};
    int max_attempts = 0;
  } webhooks;
  struct Net {
    std::vector<std::string> allow;
  } net;
  struct Client {
    std::string url;
  } client;
  std::vector<ActorConfig> actors;
  std::vector<QueueConfig> queues;

  Origins origins;
  // The environment over .env, without what is empty: where provider keys are looked up.
  std::map<std::string, std::string> environment;
  struct File {
    std::string path;
    bool read = false;  // false: looked for, not there
  };
  std::vector<File> files;
  // The soft limit of open files that programs get: the one before the server raised its own. 0:
  // the server's. Of the process, not a setting.
  uint64_t program_open_files = 0;
  // What the user should know although nothing is wrong: printed at start and by `config show`.
  std::vector<std::string> notes;

  Origin origin_of(const std::string& key) const;
  std::optional<std::string> lookup(const std::string& variable) const;
  std::string store_words() const;  // where the tasks are, for people: without a password
  // Where clients find the server: client.url, else address and port.
  std::string server_url() const;
};

// What the process is going to be, which decides what must hold.
enum class Role : uint8_t { client, inspect, up, api, worker, maintenance, migrate };

struct ConfigSources {
  Role role = Role::client;
  std::map<std::string, std::string> flags;       // key of the setting -> text
  std::map<std::string, std::string> flag_names;  // where a command has another name for one
  std::map<std::string, std::string> environment;
  std::string directory = ".";  // the working directory
  std::string config_file;      // --config; it must exist
  bool use_dotenv = true;
  int cpus = 1;
};

// Throws Error{invalid} with one line for each problem.
Config load_config(const ConfigSources& sources);

// The two steps of it, for the fuzz target and tests: text to settings, without looking at the
// machine; and the checks that do look. Problems are appended, one line each.
Config read_config(const ConfigSources& sources, const std::optional<std::string>& toml_text,
                   const std::optional<std::string>& dotenv_text,
                   std::vector<std::string>& problems);
void check_config(Config& config, Role role, std::vector<std::string>& problems);

}  // namespace opscore
