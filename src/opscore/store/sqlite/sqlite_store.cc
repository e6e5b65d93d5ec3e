#include "opscore/store/sqlite/sqlite_store.h"

#include <fmt/format.h>

#include <algorithm>

#include "opscore/store/sqlite/schema.h"
#include "opscore/store/sqlite/sqlite_parts.h"

namespace opscore {
namespace sqlite {

template <class F>
auto Parts::on_committer(const char* verb, Committer::Kind kind, F&& call) const {
  if (committer == nullptr)
    throw Error(Errc::unavailable, fmt::format("{}: '{}' is open for reading only", verb, path),
                false);
  try {
    return call();
  } catch (const Error& error) {
    // Only inserts may be refused for want of space; for the others it is a failure like any.
    if (error.code() == Errc::disk_low && kind == Committer::Kind::ends_work)
      throw Error(Errc::unavailable, fmt::format("{}: {}", verb, error.what()));
    throw error.with_context(verb);
  }
}

void Parts::write(const char* verb, size_t items, Committer::Kind kind,
                  const std::function<void(WriteSide&)>& operation) const {
  on_committer(verb, kind, [&] { committer->run(items, kind, operation); });
}

void Parts::write_when(const char* verb, const std::function<bool(WriteSide&)>& operation,
                       Deadline deadline) const {
  on_committer(verb, Committer::Kind::ends_work,
               [&] { return committer->run_when(operation, deadline); });
}

namespace {

// Longer than anything else that names a session is kept.
constexpr Duration kKeepSessions = std::chrono::days(90);

// Everything that only a writing store has.
struct Writing {
  Writing(const Clock& clock, Random& random, Log& log, const SqliteOptions& options, Lanes& lanes,
          ChangeFeed& feed)
      : db(options.path, OpenMode::create),
        side(clock, random, log, migrated(random), lanes, feed, options.announce) {
    forget_old_sessions(clock.now());
    side.load();
    committer.emplace(side, options.batch_max, checkpoint_pages(options));
  }

  // The WAL takes no more than a quarter of what is kept free for finishing.
  static int checkpoint_pages(const SqliteOptions& options) {
    constexpr int64_t kPageBytes = 4096;
    if (options.disk_reserve_bytes <= 0) return Committer::kCheckpointPages;
    int64_t pages = options.disk_reserve_bytes / 4 / kPageBytes;
    return static_cast<int>(std::clamp<int64_t>(pages, 100, Committer::kCheckpointPages));
  }

  void forget_old_sessions(TimePoint now) {
    Statement forget(db, "DELETE FROM sessions WHERE ended < ?");
    forget.run(now - kKeepSessions);
    db.execute("DELETE FROM contexts WHERE session NOT IN (SELECT id FROM sessions)");
  }

  Connection& migrated(Random& random) {
    apply_migrations(db, random);
    return db;
  }

  Connection db;
  WriteSide side;
  std::optional<Committer> committer;
};

// A reader is not ours to be trusted with a schema it does not know.
Identity read_identity(ReaderPool& readers) {
  auto reader = readers.borrow();
  check_schema(reader->db);
  return load_identity(reader->db);
}

class SqliteStore final : public Store {
 public:
  SqliteStore(const Clock& clock, Random& random, Log& log, const SqliteOptions& options)
      : writing_(options.read_only
                     ? nullptr
                     : std::make_unique<Writing>(clock, random, log, options, lanes_, feed_)),
        readers_(options.path, options.read_only ? OpenMode::read_only : OpenMode::reader, lanes_,
                 options.readers),
        identity_(read_identity(readers_)),
        ids_(identity_.secret),
        parts_{clock,        lanes_,
               readers_,     writing_ ? &*writing_->committer : nullptr,
               options.path, options.disk_reserve_bytes} {}

  TaskStore& tasks() override { return tasks_; }
  TaskReader& reader() override { return reader_; }
  Fleet& fleet() override { return fleet_; }
  Changes& changes() override { return feed_; }
  Outbox& outbox() override { return outbox_; }
  Jobs& jobs() override { return jobs_; }
  const IdCodec& ids() const override { return ids_; }
  const std::string& identity() const override { return identity_.name; }

 private:
  Lanes lanes_;
  ChangeFeed feed_;
  std::unique_ptr<Writing> writing_;
  ReaderPool readers_;
  const Identity identity_;
  const IdCodec ids_;
  const Parts parts_;
  SqliteTasks tasks_{parts_};
  SqliteReader reader_{parts_, ids_};
  SqliteFleet fleet_{parts_};
  SqliteOutbox outbox_{parts_};
  SqliteJobs jobs_{parts_};
};

}  // namespace
}  // namespace sqlite

std::unique_ptr<Store> open_sqlite_store(const Clock& clock, Random& random, Log& log,
                                         const SqliteOptions& options) {
  sqlite::check_file(options.path, options.read_only);
  return std::make_unique<sqlite::SqliteStore>(clock, random, log, options);
}

}  // namespace opscore
