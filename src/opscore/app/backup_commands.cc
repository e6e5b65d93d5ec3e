// `backup` and `restore`. Both work on the data file itself: a server that writes it goes on during
// a backup and must not run during a restore.

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <iostream>

#include "opscore/app/cli/exit_codes.h"
#include "opscore/app/cli/progress_bar.h"
#include "opscore/app/command_line.h"
#include "opscore/app/config_value.h"
#include "opscore/app/version.h"
#include "opscore/base/json.h"
#include "opscore/store/sqlite/backup.h"
#include "opscore/store/sqlite/data_lock.h"

namespace opscore {
namespace {

Json facts_json(const std::string& file, const BackupFacts& facts) {
  return {{"file", file},
          {"bytes", facts.bytes},
          {"sha256", facts.sha256},
          {"tasks", facts.tasks},
          {"version", facts.version},
          {"schema", facts.schema},
          {"identity", facts.identity},
          {"made_at", to_rfc3339(facts.made_at)}};
}

std::string facts_text(const BackupFacts& facts) {
  int64_t total = 0;
  for (const auto& [state, count] : facts.tasks) total += count;
  std::string text = fmt::format("{} tasks", total);
  const char* separator = " (";
  for (const auto& [state, count] : facts.tasks)
    if (count > 0) text += fmt::format("{}{} {}", std::exchange(separator, ", "), count, state);
  return text + (total > 0 ? "), " : ", ") + short_bytes(facts.bytes);
}

// Runs `work` with a progress bar on stderr. What it refuses is printed and answered as exit code.
template <class F>
int run_with_progress(const Config& config, bool json, const char* verb, const std::string& file,
                      F&& work) {
  BackupOptions options;
  options.data_file = config.store.path;
  options.file = file;
  options.disk_reserve_bytes = config.store.disk_reserve.value;
  options.version = version();
  options.now = SystemClock().now();
  try {
    ProgressBar bar(std::cerr, look_at_terminal(config.environment, STDERR_FILENO));
    if (!json)
      options.progress = [&](double part, const std::string& words) { bar.show(part, words); };
    work(options, bar);
    return 0;
  } catch (const Error& error) {
    if (json)
      std::cout << Json{{"error", info(error.code()).slug}, {"detail", error.message()}}.dump()
                << '\n';
    std::cerr << error_text(fmt::format("{} {}", verb, file), error.message());
    return static_cast<int>(backup_exit_status(error.code()));
  }
}

// A database has a backup of its own kind, of which ours would be a bad copy.
void refuse_postgresql(const Config& config, const std::string& instead) {
  if (config.store.url.empty()) return;
  throw Error(Errc::invalid,
              fmt::format("this is for data files, and the store is {}\n  use PostgreSQL's own: "
                          "{}\n  for a data file, name it with --data",
                          mask_url(config.store.url), instead));
}

}  // namespace

int run_backup(const Config& config, const std::string& file, bool json) {
  refuse_postgresql(config,
                    fmt::format("pg_dump --format=custom --schema={} --file=FILE \"$DATABASE_URL\"",
                                config.store.schema));
  return run_with_progress(config, json, "backup", file,
                           [&](const BackupOptions& options, ProgressBar& bar) {
                             BackupFacts facts = make_backup(options);
                             bar.clear();
                             if (json)
                               std::cout << facts_json(file, facts).dump() << '\n';
                             else
                               std::cout << fmt::format("{}: {}\n", file, facts_text(facts));
                           });
}

int run_restore(const Config& config, const std::string& file, bool json) {
  refuse_postgresql(config, "pg_restore --clean --if-exists --dbname=\"$DATABASE_URL\" FILE");
  return run_with_progress(
      config, json, "restore", file, [&](const BackupOptions& options, ProgressBar& bar) {
        read_backup(file);  // before anything is made for it
        make_data_folder(config.store.path);
        DataLock lock(config.store.path);
        Restored restored = restore_backup(options);
        bar.clear();
        if (json) {
          Json said = facts_json(file, restored.facts);
          said["data"] = config.store.path;
          said["kept"] = restored.kept.empty() ? Json() : Json(restored.kept);
          said["jobs_stopped"] = restored.jobs_stopped;
          std::cout << said.dump() << '\n';
          return;
        }
        std::cout << fmt::format("{}: restored {}\n", config.store.path,
                                 facts_text(restored.facts));
        if (!restored.kept.empty())
          std::cerr << fmt::format("what was there is {}\n", restored.kept);
        if (restored.jobs_stopped > 0)
          std::cerr << fmt::format("{} bulk jobs that were under way are stopped\n",
                                   restored.jobs_stopped);
      });
}

}  // namespace opscore
