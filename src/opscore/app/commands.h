#pragma once
// The bodies of the commands that start something, implemented in run.cc, and what the command line
// passes to them. Each runs on the main thread until the process should end and returns its exit
// code (see cli/exit_codes.h); configuration was checked before. They throw Error for what the user
// can do something about.

#include <functional>
#include <string>

#include "opscore/app/config.h"

namespace opscore {

class Registry;

struct RunOptions {
  bool supervise = true;  // false: --no-supervise
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

// API, worker and maintenance on the SQLite file.
// `sources` is where the configuration came from, for reading it again.
int run_up(const Config& config, const ConfigSources& sources, const RunOptions& options,
           const AddActors& add_actors);
// The roles on PostgreSQL; load_config() refuses them without it.
int run_api(const Config& config, const RunOptions& options, const AddActors& add_actors);
int run_worker(const Config& config, const RunOptions& options, const AddActors& add_actors);
int run_maintenance(const Config& config, const RunOptions& options, const AddActors& add_actors);
// Brings the store's schema up to date.
int run_migrate(const Config& config);
// A checked copy of the data file, while a server may be writing it; and back.
int run_backup(const Config& config, const std::string& file, bool json);
int run_restore(const Config& config, const std::string& file, bool json);
// Makes the folder of a data file. Throws Error{unavailable}.
void make_data_folder(const std::string& file);
int run_bench(const Config& config, const BenchOptions& options, const AddActors& add_actors);

}  // namespace opscore
