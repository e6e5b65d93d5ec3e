#pragma once
// Backups of a data file: made while a server writes it, checked before they are used. A backup is
// the database as it was at one moment, followed by one block that says what must be in it:
//
//   backup = database (bytes that `bytes` and `sha256` are about) block
//   block  = "opscore backup 1\n" JSON "\n" spaces, 4096 bytes in all
//
// SQLite ignores what follows a database, so a backup can be looked at with any of its tools. Both
// ways end with a rename of a complete, synced file: whoever dies on the way leaves what was there
// before, and a file that the next run overwrites.

#include <functional>
#include <map>
#include <string>

#include "opscore/base/random.h"
#include "opscore/base/time.h"

namespace opscore {

struct BackupFacts {
  std::string version;  // of the opscore that made it
  int64_t schema = 0;
  std::string identity;  // of the installation
  TimePoint made_at{};
  int64_t bytes = 0;
  std::string sha256;                    // hex
  std::map<std::string, int64_t> tasks;  // how many, by state
};

// `part` from 0 to 1.
using BackupProgress = std::function<void(double part, const std::string& words)>;

struct BackupOptions {
  std::string data_file;
  std::string file;                // the backup
  int64_t disk_reserve_bytes = 0;  // what a server keeps free on the disk of its data file
  std::string version;             // of this opscore
  TimePoint now{};
  BackupProgress progress = [](double, const std::string&) {};
};

// Throws Error: not_found (no data file), conflict (the target exists and is no backup, or another
// backup writes it), disk_low, invalid (not a data file of this or an older opscore), corrupt,
// unavailable. Nothing is left behind then.
BackupFacts make_backup(const BackupOptions& options);

// What a backup says of itself. Throws Error: not_found, invalid (not a backup), corrupt.
BackupFacts read_backup(const std::string& file);

struct Restored {
  BackupFacts facts;
  std::string kept;  // where the data file that was there is now; empty when there was none
  int64_t jobs_stopped = 0;
};

// Puts a backup in the place of the data file. The caller holds the data lock. Bulk jobs that were
// under way in the backup are stopped. Throws Error like make_backup(); then the data file is as it
// was. Of `options` all but version is used.
Restored restore_backup(const BackupOptions& options);

}  // namespace opscore
