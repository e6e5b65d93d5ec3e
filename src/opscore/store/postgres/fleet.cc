#include <algorithm>

#include "opscore/store/postgres/parts.h"
#include "opscore/store/postgres/settings_rows.h"

namespace opscore::postgres {
namespace {

constexpr Statement kOpen{"open_session",
                          "INSERT INTO sessions(name, context, started, renewed, renewals) "
                          "VALUES($1::text, $2::text, $3::bigint, $3::bigint, 0) RETURNING id"};
constexpr Statement kRenew{"renew",
                           "UPDATE sessions SET renewed = $2::bigint, renewals = renewals + 1, "
                           "report = $3::text WHERE id = $1::bigint AND ended IS NULL "
                           "RETURNING id"};
// Never waits: who has locked a row is ending its attempt, which says when it started, or is asking
// for its cancel, and then the next report comes through.
constexpr Statement kStart{
    "start_attempts",
    "WITH entered AS MATERIALIZED (SELECT key, attempt FROM live WHERE key = ANY($1::bigint[]) AND "
    "session = $4::bigint AND state + 0 = 3 AND started IS NULL ORDER BY key "
    "FOR UPDATE SKIP LOCKED) "
    "UPDATE live l SET started = r.started FROM entered e JOIN unnest($1::bigint[], "
    "$2::bigint[], $3::bigint[]) r(key, attempt, started) USING (key, attempt) "
    "WHERE l.key = e.key RETURNING l.key"};
constexpr Statement kCancels{"cancels",
                             "SELECT key, attempt FROM live WHERE cancel_requested AND "
                             "session = $1::bigint AND state + 0 = 3 ORDER BY key"};
constexpr Statement kTakeCommands{
    "take_commands",
    "WITH taken AS (DELETE FROM commands WHERE session = $1::bigint RETURNING id, command) "
    "SELECT command FROM taken ORDER BY id"};
constexpr Statement kHasCommands{"has_commands",
                                 "SELECT 1 FROM commands WHERE session = $1::bigint LIMIT 1"};
constexpr Statement kSessions{
    "sessions",
    "SELECT id, name, context, started, renewed, renewals, ended, last_words, report "
    "FROM sessions WHERE ended IS NULL OR ended > $1::bigint ORDER BY id DESC"};
constexpr Statement kHoldExternal{
    "hold_external",
    "SELECT l.key FROM live l WHERE l.key = ANY($1::bigint[]) ORDER BY l.key FOR UPDATE"};
constexpr Statement kExtend{
    "extend",
    "UPDATE live l SET external = $3::bigint FROM unnest($1::bigint[], $2::bigint[]) u(key, "
    "attempt) "
    "WHERE l.key = u.key AND l.attempt = u.attempt AND l.external IS NOT NULL"};
constexpr Statement kCommand{"command",
                             "INSERT INTO commands(session, command) SELECT id, $2::text FROM "
                             "sessions WHERE id = $1::bigint AND ended IS NULL RETURNING id"};
constexpr Statement kAnnounce{
    "announce_actors",
    "INSERT INTO catalogue SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[]) "
    "u(type, seen, entry) ORDER BY type "
    "ON CONFLICT(type) DO UPDATE SET seen = excluded.seen, entry = excluded.entry"};
constexpr Statement kDescribe{"describe",
                              "INSERT INTO contexts(session, context) SELECT id, $2::text FROM "
                              "sessions WHERE id = $1::bigint "
                              "ON CONFLICT(session) DO UPDATE SET context = excluded.context"};
constexpr Statement kContext{"context", "SELECT context FROM contexts WHERE session = $1::bigint"};
constexpr Statement kCatalogue{"catalogue", "SELECT entry, seen FROM catalogue ORDER BY type"};

}  // namespace

SessionId PostgresFleet::open_session(const std::string& name, const std::string& context) {
  SessionId session;
  parts_.writers.run("open a session", [&](Transaction& transaction) {
    session = SessionId{
        transaction.query(kOpen, Parameters::of(name, context, transaction.now())).integer(0, 0)};
  });
  return session;
}

RenewReply PostgresFleet::renew(SessionId session, const SessionReport& report) {
  RenewReply reply;
  std::string encoded = encode_report(report);
  parts_.writers.run("renew", [&](Transaction& transaction) {
    reply = {};
    size_t renewed = transaction.send(kRenew, Parameters::of(session, transaction.now(), encoded));
    Array keys = Array::numbers(), attempts = Array::numbers(), started = Array::numbers();
    for (const auto& entered : report.running) {
      keys.add(entered.key);
      attempts.add(int64_t{entered.attempt});
      started.add(entered.started_at);
    }
    size_t starts = transaction.send(kStart, Parameters::of(keys, attempts, started, session));
    size_t cancels = transaction.send(kCancels, Parameters::of(session));
    size_t settings = transaction.send(settings_statement());
    size_t commands = transaction.send(kHasCommands, Parameters::of(session));
    transaction.flush();
    reply.lost = transaction.rows(renewed).size() == 0;
    if (reply.lost) return;
    const Rows& entered = transaction.rows(starts);
    for (int i = 0; i < entered.size(); ++i) transaction.note_task(TaskKey{entered.integer(i, 0)});
    reply.actor_concurrency =
        decode_settings(transaction.rows(settings)).settings.actor_concurrency;
    const Rows& asked = transaction.rows(cancels);
    for (int i = 0; i < asked.size(); ++i)
      reply.cancels.push_back(
          {TaskKey{asked.integer(i, 0)}, static_cast<int>(asked.integer(i, 1))});
    if (transaction.rows(commands).size() == 0) return;
    Rows taken = transaction.query(kTakeCommands, Parameters::of(session));
    for (int i = 0; i < taken.size(); ++i) reply.commands.emplace_back(taken.text(i, 0));
  });
  return reply;
}

std::vector<Session> PostgresFleet::sessions(Duration ended_within) {
  TimePoint since = parts_.clock.now() - ended_within;
  return parts_.readers.run("list sessions", [&](Connection& connection) {
    Rows rows = connection.query(kSessions, Parameters::of(since));
    std::vector<Session> sessions;
    for (int i = 0; i < rows.size(); ++i) {
      Session session;
      session.id = SessionId{rows.integer(i, 0)};
      session.name = rows.text(i, 1);
      session.context = rows.text(i, 2);
      session.started_at = rows.time(i, 3);
      session.renewed_at = rows.time(i, 4);
      session.renewals = static_cast<uint64_t>(rows.integer(i, 5));
      session.ended_at = rows.optional_time(i, 6);
      session.last_words = rows.text(i, 7);
      if (!rows.is_null(i, 8)) session.report = decode_report(rows.text(i, 8));
      sessions.push_back(std::move(session));
    }
    return sessions;
  });
}

void PostgresFleet::extend(std::span<const Lease> leases, TimePoint until) {
  if (leases.empty()) return;
  std::vector<Lease> sorted(leases.begin(), leases.end());  // locks go in the order of keys
  std::ranges::sort(sorted);
  Array keys = Array::numbers(), attempts = Array::numbers();
  for (const Lease& lease : sorted) {
    keys.add(lease.key);
    attempts.add(int64_t{lease.attempt});
  }
  parts_.writers.run("extend", [&](Transaction& transaction) {
    transaction.query(kHoldExternal, Parameters::of(keys));
    transaction.send(kExtend, Parameters::of(keys, attempts, until));
  });
}

void PostgresFleet::command(SessionId session, const std::string& command) {
  parts_.writers.run("command a session", [&](Transaction& transaction) {
    if (transaction.query(kCommand, Parameters::of(session, command)).size() == 1)
      transaction.note_session(session);
  });
}

void PostgresFleet::announce_actors(const std::vector<CatalogueEntry>& entries) {
  if (entries.empty()) return;
  parts_.writers.run("announce actors", [&](Transaction& transaction) {
    Array types = Array::texts(), seen = Array::numbers(), encoded = Array::texts();
    for (const CatalogueEntry& entry : entries) {
      types.add(entry.type);
      seen.add(transaction.now());
      encoded.add(encode_entry(entry));
    }
    transaction.send(kAnnounce, Parameters::of(types, seen, encoded));
  });
}

std::vector<CatalogueEntry> PostgresFleet::catalogue() {
  return parts_.readers.run("read the catalogue", [&](Connection& connection) {
    Rows rows = connection.query(kCatalogue);
    auto chosen =
        decode_settings(connection.query(settings_statement())).settings.actor_concurrency;
    std::vector<CatalogueEntry> entries;
    for (int i = 0; i < rows.size(); ++i) {
      entries.push_back(decode_entry(rows.text(i, 0)));
      entries.back().seen_at = rows.time(i, 1);
      if (auto set = chosen.find(entries.back().type); set != chosen.end())
        entries.back().chosen_concurrency = set->second;
    }
    return entries;
  });
}

void PostgresFleet::describe(SessionId session, const std::string& context) {
  parts_.writers.run("describe a session", [&](Transaction& transaction) {
    transaction.send(kDescribe, Parameters::of(session, context));
  });
}

std::string PostgresFleet::context(SessionId session) {
  return parts_.readers.run("read the context of a session", [&](Connection& connection) {
    Rows rows = connection.query(kContext, Parameters::of(session));
    return rows.size() == 0 ? std::string() : std::string(rows.text(0, 0));
  });
}

bool PostgresFleet::lead(SessionId session) {
  return parts_.home.lead(session, Deadline::after(parts_.timeout));
}

}  // namespace opscore::postgres
