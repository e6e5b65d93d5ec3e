#pragma once
// The bodies of the commands that start something, implemented in run.cc, and what the command line
// passes to them. Each runs on the main thread until the process should end and returns its exit
// code (see cli/exit_codes.h); configuration was checked before. They throw Error for what the user
// can do something about.

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "opscore/app/config.h"
#include "opscore/process/launch.h"

namespace opscore {

class Registry;

struct RunOptions {
  bool supervise = true;               // false: --no-supervise
  bool require_store = false;          // end when PostgreSQL does not answer at the start
  std::vector<std::string> exclusive;  // queues that no other worker may serve when it starts
  int impatient_exit = 130;            // the exit code after a second request to stop
  std::string when_taken;              // what to do when another has the data file or the port
  bool check = false;                  // show that tasks get through, and end
  std::optional<int> ready_fd;         // told when it takes work, see ready_signal.h
  std::string ready_file;              // there while it does
  Launch launch;                       // of this process, as it was started
};

struct MigrateOptions {
  std::string verb = "up";  // or status
  bool dry_run = false;     // print the SQL instead
  bool json = false;
};

struct BenchOptions {
  int64_t tasks = 100'000;
  enum class Mode : uint8_t { embedded, server } mode = Mode::embedded;
  std::string url;  // of the server, in that mode
  int64_t payload_bytes = 200;
  int runs = 5;
  bool json = false;
  std::string suite = "drain";  // one of bench/suites.h, or all
};

using AddActors = std::function<void(Registry&)>;

// Runs what the role does: `up` API, worker and maintenance together, on the SQLite file or on
// PostgreSQL; the others on PostgreSQL, without which load_config() refuses them.
// `sources` is where the configuration came from, for reading it again.
int run_role(Role role, const Config& config, const ConfigSources& sources,
             const RunOptions& options, const AddActors& add_actors);
// Brings the store's schema up to date, or says what that takes.
int run_migrate(const Config& config, const MigrateOptions& options);
// A checked copy of the data file, while a server may be writing it; and back.
int run_backup(const Config& config, const std::string& file, bool json);
int run_restore(const Config& config, const std::string& file, bool json);
// Makes the folder of a data file. Throws Error{unavailable}.
void make_data_folder(const std::string& file);
int run_bench(const Config& config, const BenchOptions& options, const AddActors& add_actors);

}  // namespace opscore
