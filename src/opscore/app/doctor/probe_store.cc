// The store, and what is in it, as `opscore doctor` sees them.

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "opscore/app/doctor/probes.h"
#include "opscore/app/session_context.h"
#include "opscore/app/version.h"
#include "opscore/app/wiring.h"
#include "opscore/engine/facts.h"
#include "opscore/store/postgres/postgres_vitals.h"
#include "opscore/store/sqlite/sqlite_store.h"

namespace opscore {
namespace {

constexpr Duration kLongTransaction{60'000};
constexpr size_t kPage = 1000, kPages = 3;  // of due tasks that are looked at

// Due tasks by type and queue, of the newest few thousand.
std::vector<FleetFacts::Waiting> waiting_in(Store& store) {
  std::map<std::pair<std::string, std::string>, FleetFacts::Waiting> waiting;
  TaskFilter due;
  due.states = StateSet(State::pending);
  std::optional<TaskKey> before;
  for (size_t page = 0; page < kPages; ++page) {
    TaskPage tasks = store.reader().list(due, before, kPage);
    for (const Task& task : tasks.tasks) {
      if (!task.live.claimable()) continue;
      FleetFacts::Waiting& of = waiting[{task.type, task.queue}];
      of.type = task.type;
      of.queue = task.queue;
      of.example = store.id_of(task);  // the oldest one comes last
      of.since = task.live.run_at;
      ++of.tasks;
    }
    before = tasks.next;
    if (!before) break;
  }
  std::vector<FleetFacts::Waiting> list;
  for (auto& [key, of] : waiting) list.push_back(std::move(of));
  return list;
}

FleetFacts read_fleet(Store& store, const Clock& clock) {
  FleetFacts facts;
  facts.sessions = store.fleet().sessions(Duration(0));
  facts.queues = store.reader().queues();
  facts.now = clock.now();
  facts.unled_since = unled_since(store, facts.sessions, facts.now);
  facts.waiting = waiting_in(store);
  const Json context = parse_json(session_context());
  facts.version = version();
  facts.host = context.value("host", "");
  facts.executable = context.value("executable", "");
  return facts;
}

void look_at_file(const Config& config, StoreProbe& probe) {
  StoreFacts& facts = probe.store;
  facts.disk_reserve_bytes = config.store.disk_reserve.value;
  std::error_code failed;
  std::filesystem::path folder = std::filesystem::absolute(config.store.path, failed).parent_path();
  while (!folder.empty() && !std::filesystem::exists(folder, failed)) folder = folder.parent_path();
  const auto space = std::filesystem::space(folder, failed);
  if (!failed) facts.disk_free_bytes = static_cast<int64_t>(space.available);
  if (!std::filesystem::exists(config.store.path, failed)) return;
  const MigrationStatus status = sqlite_migration_status(config.store.path);
  facts.schema = status.version;
  facts.schema_known = status.known;
  SystemClock clock;
  SystemRandom random;
  auto log = silent_log();
  SqliteOptions options;
  options.path = config.store.path;
  options.read_only = true;
  options.readers = 1;
  auto store = open_sqlite_store(clock, random, *log, options);
  probe.identity = store->identity();
  probe.fleet = read_fleet(*store, clock);
}

void look_at_database(const Config& config, StoreProbe& probe) {
  StoreFacts& facts = probe.store;
  PostgresOptions options = postgres_options(config);
  options.migrate = false;
  options.timeout = kProbePatience;
  PostgresVitals vitals = look_at_postgres(options, SystemClock(), kLongTransaction);
  facts.schema = vitals.version;
  facts.schema_known = vitals.known;
  facts.clock_offset = vitals.clock_offset;
  facts.connections = vitals.connections;
  facts.connections_max = vitals.connections_max;
  for (auto& open : vitals.transactions)
    facts.transactions.push_back({open.pid, open.application, open.peer, open.state, open.age});
  for (auto& table : vitals.tables) facts.tables.push_back({table.name, table.live, table.dead});
  if (vitals.version != vitals.known) return;
  ServerClock clock;
  SystemRandom random;
  auto log = silent_log();
  options.clock = &clock;
  auto store = open_postgres_store(clock, random, *log, options);
  probe.identity = store->identity();
  probe.fleet = read_fleet(*store, clock);
}

}  // namespace

StoreProbe probe_store(const Config& config) {
  StoreProbe probe;
  probe.store.where = config.store_words();
  probe.store.embedded = config.store.url.empty();
  try {
    probe.store.embedded ? look_at_file(config, probe) : look_at_database(config, probe);
  } catch (const Error& error) {
    probe.store.problem = error.what();
  }
  return probe;
}

}  // namespace opscore
