#include "opscore/store/postgres/transaction.h"

#include <algorithm>

#include "opscore/store/postgres/news.h"

namespace opscore::postgres {
namespace {

constexpr Statement kBegin{"begin", "BEGIN"};
constexpr Statement kCommit{"commit", "COMMIT"};
// Fails, and the COMMIT behind it, when somebody has read the number back and moved it on.
constexpr Statement kMark{"mark",
                          "WITH marked AS (UPDATE writers SET number = $2::bigint, at = now() "
                          "WHERE id = $1::bigint AND number = $2::bigint - 1 RETURNING 1) "
                          "SELECT 1 / count(*) FROM marked"};
constexpr Statement kNotify{"notify", "SELECT pg_notify($1::text, $2::text)"};
constexpr Statement kCount{"count",
                           "INSERT INTO counters SELECT * FROM unnest($1::text[], $2::bigint[], "
                           "$3::bigint[], $4::bigint[])"};
constexpr Statement kPost{"post",
                          "INSERT INTO outbox(kind, destination, body, properties, not_before) "
                          "SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[], "
                          "$4::text[], $5::bigint[])"};
// Tokens are for the broker: none while no process of the installation has one.
constexpr Statement kAnnounce{
    "announce",
    "INSERT INTO outbox(kind, destination, body, properties, not_before) "
    "SELECT 0, u.queue, u.body, '', $3::bigint FROM unnest($1::text[], $2::bytea[]) "
    "u(queue, body) WHERE EXISTS(SELECT 1 FROM meta WHERE name = 'announce_until' AND "
    "convert_from(value, 'UTF8')::timestamptz > now())"};

}  // namespace

Transaction::~Transaction() {
  if (lost_) return;
  if (begun_ && !ended_) connection_.abandon();
  connection_.clear();
}

size_t Transaction::send(const Statement& statement, const Parameters& parameters) {
  if (!begun_) {
    begun_ = true;
    connection_.clear();
    connection_.send(kBegin);
    connection_.set_up_transaction();
  }
  wrote_ |= !std::string_view(statement.sql).starts_with("SELECT");
  return connection_.send(statement, parameters);
}

Rows Transaction::query(const Statement& statement, const Parameters& parameters) {
  size_t index = send(statement, parameters);
  flush();
  return rows(index);
}

void Transaction::note_queue(const std::string& queue, const Live& live, int64_t place) {
  // What is scheduled is news, too: it may be due before anything that waiters know of.
  if (live.state != State::pending && live.state != State::scheduled) return;
  if (!live.claimable()) return;
  due_[queue] += live.state == State::pending ? 1 : 0;
  auto [lowest, first] = effects_.places.try_emplace(queue, place);
  lowest->second = std::min(lowest->second, place);
}

void Transaction::count(const std::string& queue, State state, int64_t by) {
  Counts& counts = counts_[queue];
  if (state == State::completed) counts.completed += by;
  if (state == State::failed) counts.failed += by;
  if (state == State::cancelled) counts.cancelled += by;
}

void Transaction::send_outbox() {
  Array kinds = Array::numbers(), destinations = Array::texts(), bodies = Array::bytes(),
        properties = Array::texts(), times = Array::numbers();
  for (const OutboxRow& row : outbox_) {
    kinds.add(static_cast<int64_t>(row.kind));
    destinations.add(row.destination);
    bodies.add(row.body);
    properties.add(row.properties);
    times.add(row.not_before);
  }
  send(kPost, Parameters::of(kinds, destinations, bodies, properties, times));
}

void Transaction::send_tokens() {
  Array queues = Array::texts(), bodies = Array::bytes();
  for (const auto& [queue, due] : due_) {
    if (due == 0) continue;
    queues.add(queue);
    bodies.add(std::to_string(due));
  }
  if (queues.size() > 0) send(kAnnounce, Parameters::of(queues, bodies, now_));
}

void Transaction::send_effects() {
  for (const auto& [queue, due] : due_) effects_.change.queues.push_back(queue);
  send_tokens();
  if (!outbox_.empty()) send_outbox();
  Array queues = Array::texts(), completed = Array::numbers(), failed = Array::numbers(),
        cancelled = Array::numbers();
  for (const auto& [queue, counts] : counts_) {
    queues.add(queue);
    completed.add(counts.completed);
    failed.add(counts.failed);
    cancelled.add(counts.cancelled);
  }
  if (queues.size() > 0) send(kCount, Parameters::of(queues, completed, failed, cancelled));
  std::string news = encode_news(options_.origin, effects_);
  if (!news.empty()) send(kNotify, Parameters::of(channel_of(options_.schema), news));
}

void Transaction::commit() {
  if (ended_) return;
  send_effects();
  if (begun_) {
    marked_ = wrote_;
    if (wrote_ && !marks_itself_) send(kMark, Parameters::of(mark_.writer, mark_.number));
    connection_.send(kCommit);
    commit_sent_ = wrote_;
    connection_.sync();
  }
  ended_ = true;
}

void Transaction::rollback_to_start() {
  rollback();
  begun_ = wrote_ = ended_ = marks_itself_ = marked_ = false;
  due_.clear();
  counts_.clear();
  outbox_.clear();
  effects_ = {};
}

void Transaction::rollback() {
  try {
    if (begun_) connection_.rollback();
  } catch (const Failure&) {
    connection_.abandon();  // the server rolls back what has no connection
  }
  ended_ = true;
}

}  // namespace opscore::postgres
