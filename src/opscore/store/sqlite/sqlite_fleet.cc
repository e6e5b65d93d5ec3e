#include "opscore/store/sqlite/sqlite_parts.h"

namespace opscore::sqlite {
namespace {

using Kind = Committer::Kind;

std::vector<std::string> take_commands(WriteSide& side, SessionId session) {
  std::vector<std::string> commands;
  Statement select(side.db, "SELECT command FROM commands WHERE session = ? ORDER BY id");
  {
    auto rows = select.query(session.value);
    while (rows.next()) commands.emplace_back(rows.text(0));
  }
  if (commands.empty()) return commands;
  Statement clear(side.db, "DELETE FROM commands WHERE session = ?");
  clear.run(session.value);
  return commands;
}

void record_starts(WriteSide& side, SessionId session, const SessionReport& report) {
  for (const auto& entered : report.running) {
    const Running* held = side.running.find(entered.key);
    if (held == nullptr || held->started || held->session != session) continue;
    if (!side.edits.start_live(entered.key, entered.attempt, entered.started_at)) continue;
    Running started = *held;
    started.started = true;
    side.running.set(entered.key, started);
    side.note_task(entered.key);
  }
}

}  // namespace

SessionId SqliteFleet::open_session(const std::string& name, const std::string& context) {
  SessionId session;
  parts_.write("open a session", 1, Kind::ends_work, [&](WriteSide& side) {
    Statement insert(side.db,
                     "INSERT INTO sessions(name, context, started, renewed, renewals) "
                     "VALUES(?1, ?2, ?3, ?3, 0) RETURNING id");
    auto rows = insert.query(name, context, side.clock.now());
    if (rows.next()) session = SessionId{rows.integer(0)};
    while (rows.next()) {
    }
    side.session_opened(session);
  });
  return session;
}

RenewReply SqliteFleet::renew(SessionId session, const SessionReport& report) {
  RenewReply reply;
  std::string encoded = encode_report(report);
  parts_.write("renew", 1, Kind::ends_work, [&](WriteSide& side) {
    reply = {};
    reply.lost = !side.alive(session);
    if (reply.lost) return;
    Statement update(side.db,
                     "UPDATE sessions SET renewed = ?, renewals = renewals + 1, report = ? "
                     "WHERE id = ?");
    update.run(side.clock.now(), encoded, session.value);
    record_starts(side, session, report);
    for (const auto& [key, running] : side.running.held_by(session))
      if (running.cancel_requested)
        reply.cancels.push_back({key, side.queries.live(key).value().live.attempt});
    reply.commands = take_commands(side, session);
    reply.actor_concurrency = side.settings().actor_concurrency;
  });
  return reply;
}

std::vector<Session> SqliteFleet::sessions(Duration ended_within) {
  std::vector<Session> sessions;
  TimePoint now = parts_.clock.now();
  auto reader = parts_.readers.borrow();
  Statement select(
      reader->db,
      "SELECT id, name, context, started, renewed, renewals, ended, last_words, report "
      "FROM sessions WHERE ended IS NULL OR ended > ? ORDER BY id DESC");
  auto rows = select.query(now - ended_within);
  while (rows.next()) {
    Session session;
    session.id = SessionId{rows.integer(0)};
    session.name = rows.text(1);
    session.context = rows.text(2);
    session.started_at = rows.time(3);
    session.renewed_at = rows.time(4);
    session.renewals = static_cast<uint64_t>(rows.integer(5));
    session.ended_at = rows.optional_time(6);
    session.last_words = rows.text(7);
    if (!rows.is_null(8)) session.report = decode_report(rows.text(8));
    sessions.push_back(std::move(session));
  }
  return sessions;
}

void SqliteFleet::extend(std::span<const Lease> leases, TimePoint until) {
  if (leases.empty()) return;
  parts_.write("extend", leases.size(), Kind::ends_work, [&](WriteSide& side) {
    for (const Lease& lease : leases) side.edits.extend_external(lease, until);
  });
}

void SqliteFleet::command(SessionId session, const std::string& command) {
  parts_.write("command a session", 1, Kind::ends_work, [&](WriteSide& side) {
    if (!side.alive(session)) return;
    Statement insert(side.db, "INSERT INTO commands(session, command) VALUES(?, ?)");
    insert.run(session.value, command);
    side.note_session(session);
  });
}

void SqliteFleet::announce_actors(const std::vector<CatalogueEntry>& entries) {
  parts_.write("announce actors", entries.size(), Kind::ends_work, [&](WriteSide& side) {
    Statement upsert(side.db,
                     "INSERT INTO catalogue(type, seen, entry) VALUES(?1, ?2, ?3) "
                     "ON CONFLICT DO UPDATE SET seen = ?2, entry = ?3");
    for (const CatalogueEntry& entry : entries) {
      std::string encoded = encode_entry(entry);
      upsert.run(entry.type, side.clock.now(), encoded);
    }
  });
}

std::vector<CatalogueEntry> SqliteFleet::catalogue() {
  std::vector<CatalogueEntry> entries;
  auto reader = parts_.readers.borrow();
  Statement select(reader->db,
                   "SELECT entry, seen, concurrency FROM catalogue LEFT JOIN actor_limits "
                   "USING(type) ORDER BY type");
  auto rows = select.query();
  while (rows.next()) {
    entries.push_back(decode_entry(rows.text(0)));
    entries.back().seen_at = rows.time(1);
    entries.back().chosen_concurrency = rows.optional_integer(2);
  }
  return entries;
}

void SqliteFleet::describe(SessionId session, const std::string& context) {
  parts_.write("describe a session", 1, Kind::ends_work, [&](WriteSide& side) {
    Statement upsert(side.db,
                     "INSERT INTO contexts(session, context) SELECT id, ?2 FROM sessions "
                     "WHERE id = ?1 ON CONFLICT DO UPDATE SET context = excluded.context");
    upsert.run(session.value, context);
  });
}

std::string SqliteFleet::context(SessionId session) {
  auto reader = parts_.readers.borrow();
  Statement select(reader->db, "SELECT context FROM contexts WHERE session = ?");
  auto rows = select.query(session.value);
  return rows.next() ? std::string(rows.text(0)) : std::string();
}

bool SqliteFleet::lead(SessionId session) {
  bool leads = false;
  parts_.write("lead", 1, Kind::ends_work, [&](WriteSide& side) { leads = side.lead(session); });
  return leads;
}

}  // namespace opscore::sqlite
