#pragma once
// The command line as data. Parsing has no effects: it does not read files, the environment or the
// terminal. Any thread.

#include <expected>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "opscore/app/commands.h"
#include "opscore/app/doctor/examine.h"

namespace opscore {

struct SubmitOptions {
  std::string type;
  std::optional<std::string> input;  // JSON, @file or -
  std::string queue, delay, run_at, timeout, deadline, idempotency_key, task_id, name, webhook;
  std::optional<int> priority;
  std::optional<int> max_attempts;
  std::vector<std::string> labels;  // name=value
};

struct ListOptions {
  std::vector<std::string> statuses;
  std::string type, queue, since, before, cursor;
  std::vector<std::string> labels;
  int limit = 50;
};

// Of a queue or an actor: a number, "none" or "default"; empty: as it is.
struct LimitOptions {
  std::string max_pending, concurrency, max_input;
};

// Which messages of a queue of Dramatiq.
struct BrokerOptions {
  std::string actor, reason, older_than;
  int limit = 1000;
};

struct SendTestOptions {
  std::string actor = "opscore.noop";
  std::string wait = "30s";
};

// Of the live views.
struct WatchOptions {
  std::string interval = "1s";
  bool once = false;
};

// Of `opscore dramatiq`, beside the settings that its arguments are.
struct DramatiqOptions {
  std::string pid_file;
  int fork_timeout = 0;
};

struct CommandLine {
  std::string command;                            // "up", "tasks list"
  std::map<std::string, std::string> flags;       // key of a setting -> what a flag says
  std::map<std::string, std::string> flag_names;  // where it is not the setting's own flag
  std::string config_file;
  bool no_dotenv = false;
  bool json = false;
  bool yes = false;  // no question
  RunOptions run;
  MigrateOptions migrate;
  BenchOptions bench;
  SubmitOptions submit;
  ListOptions list;
  BrokerOptions broker;
  SendTestOptions test;
  WatchOptions watch;
  DramatiqOptions dramatiq;
  DoctorOptions doctor;
  std::vector<std::string> ids;  // of tasks, or of a job
  bool all = false;              // an empty filter is meant
  bool dry_run = false;
  std::string output = "-";          // of an export: a file, or - for stdout
  std::string file;                  // of a backup
  std::optional<std::string> input;  // of a retry or test
  std::string queue;
  std::string worker;
  std::string type;  // of an actor
  LimitOptions limits;
  // --wait: unset, "forever", or a duration.
  std::string wait;
  std::string ended_within;  // of workers list
  bool ready = false;        // what workers wait is for
};

// The process should end at once: help, or a mistake.
struct EarlyExit {
  int code = 0;
  std::string out;
  std::string err;
};

// `args` without the program's name.
std::expected<CommandLine, EarlyExit> parse_command_line(std::vector<std::string> args);

struct CommandHelp {
  std::string command;  // "tasks list"
  std::string help;
};
// Every command with its help text, in the order of `opscore --help`.
std::vector<CommandHelp> all_command_help();

// docs/reference/cli.md.
std::string command_reference();

}  // namespace opscore
