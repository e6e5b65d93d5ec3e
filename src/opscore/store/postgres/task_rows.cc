#include "opscore/store/postgres/task_rows.h"

namespace opscore::postgres {
namespace {

int to_int(int64_t value) {
  return static_cast<int>(value);
}

ErrorInfo to_error(std::string_view text) {
  return text.empty() ? ErrorInfo{} : decode_error(text);
}

std::string from_error(const ErrorInfo& error) {
  return error == ErrorInfo{} ? std::string() : encode_error(error);
}

}  // namespace

LiveRow decode_live(const Rows& rows, int row, int first) {
  int column = first;
  auto number = [&] { return rows.integer(row, column++); };
  auto time = [&] { return rows.time(row, column++); };
  LiveRow decoded;
  Live& live = decoded.live;
  decoded.key = TaskKey{number()};
  decoded.lane = number();
  decoded.priority = to_int(number());
  live.state = static_cast<State>(number());
  live.run_at = time();
  live.attempt = to_int(number());
  live.session = SessionId{number()};
  live.claimed_at = time();
  live.started_at = time();
  live.charged = to_int(number());
  live.budget = to_int(number());
  live.snoozes = to_int(number());
  live.losses = to_int(number());
  live.deaths = to_int(number());
  live.suspect = number() != 0;
  live.cancel_requested = number() != 0;
  live.edits = to_int(number());
  decoded.deadline = rows.optional_time(row, column++);
  decoded.progress = rows.text(row, column++);
  live.external_until = rows.optional_time(row, column++);
  return decoded;
}

OutcomeRow decode_outcome(const Rows& rows, int row, int first) {
  int column = first;
  auto number = [&] { return rows.integer(row, column++); };
  OutcomeRow decoded;
  decoded.key = TaskKey{number()};
  decoded.state = static_cast<State>(number());
  decoded.attempt = to_int(number());
  decoded.charged = to_int(number());
  decoded.edits = to_int(number());
  if (!rows.is_null(row, column))
    decoded.ended = static_cast<AttemptEnd>(rows.integer(row, column));
  ++column;
  decoded.ended_charged = number() != 0;
  decoded.session = SessionId{number()};
  decoded.claimed_at = from_ms(number());
  decoded.started_at = from_ms(number());
  decoded.finished_at = from_ms(number());
  decoded.result = rows.text(row, column++);
  decoded.error = to_error(rows.text(row, column++));
  return decoded;
}

Attempt decode_attempt(const Rows& rows, int row, int first) {
  int column = first;
  Attempt attempt;
  attempt.number = to_int(rows.integer(row, column++));
  if (!rows.is_null(row, column)) attempt.end = static_cast<AttemptEnd>(rows.integer(row, column));
  ++column;
  attempt.charged = rows.integer(row, column++) != 0;
  attempt.worker = SessionId{rows.integer(row, column++)};
  attempt.claimed_at = rows.time(row, column++);
  attempt.started_at = rows.optional_time(row, column++);
  attempt.ended_at = rows.optional_time(row, column++);
  attempt.error = to_error(rows.text(row, column++));
  return attempt;
}

const Statement& LiveInsert::statement() {
  static constexpr Statement kStatement{
      "insert_live",
      "INSERT INTO live(key, place, run_at, deadline, lane, attempt, charged, budget, snoozes, "
      "losses, deaths, edits, priority, state, suspect, external, later, cancel_requested) "
      "SELECT x.*, x.state = 0, false FROM (SELECT key, place, run_at, deadline, lane, attempt, "
      "charged, budget, snoozes, losses, deaths, edits, priority, state, suspect <> 0 AS suspect, "
      "external FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], "
      "$6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], "
      "$12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[]) u(key, place, "
      "run_at, "
      "deadline, lane, attempt, charged, budget, snoozes, losses, deaths, edits, priority, state, "
      "suspect, external)) x"};
  return kStatement;
}

void LiveInsert::add(const LiveRow& row) {
  const Live& live = row.live;
  keys_.add(row.key);
  places_.add(order_of(live.run_at, row.priority));
  run_at_.add(live.run_at);
  deadlines_.add(row.deadline);
  lanes_.add(row.lane);
  attempts_.add(int64_t{live.attempt});
  charged_.add(int64_t{live.charged});
  budgets_.add(int64_t{live.budget});
  snoozes_.add(int64_t{live.snoozes});
  losses_.add(int64_t{live.losses});
  deaths_.add(int64_t{live.deaths});
  edits_.add(int64_t{live.edits});
  priorities_.add(int64_t{row.priority});
  states_.add(static_cast<int64_t>(live.state));
  suspects_.add(int64_t{live.suspect});
  external_.add(live.external_until);
}

Parameters LiveInsert::parameters() const {
  return Parameters::of(keys_, places_, run_at_, deadlines_, lanes_, attempts_, charged_, budgets_,
                        snoozes_, losses_, deaths_, edits_, priorities_, states_, suspects_,
                        external_);
}

const Statement& OutcomeInsert::statement() {
  static constexpr Statement kStatement{
      "insert_outcomes",
      "INSERT INTO outcomes(key, session, claimed, started, finished, attempt, charged, edits, "
      "state, ended, ended_charged, result, error) SELECT key, session, claimed, started, "
      "finished, attempt, charged, edits, state, ended, ended_charged <> 0, result, error FROM "
      "unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], "
      "$6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], "
      "$12::text[], $13::text[]) u(key, session, claimed, started, finished, attempt, charged, "
      "edits, state, ended, ended_charged, result, error)"};
  return kStatement;
}

void OutcomeInsert::add(const OutcomeRow& row) {
  keys_.add(row.key);
  sessions_.add(or_null(row.session));
  claimed_.add(or_null(row.claimed_at));
  started_.add(or_null(row.started_at));
  finished_.add(row.finished_at);
  attempts_.add(int64_t{row.attempt});
  charged_.add(int64_t{row.charged});
  edits_.add(int64_t{row.edits});
  states_.add(static_cast<int64_t>(row.state));
  ended_.add(row.ended ? std::optional(static_cast<int64_t>(*row.ended)) : std::nullopt);
  ended_charged_.add(row.ended ? std::optional(int64_t{row.ended_charged}) : std::nullopt);
  results_.add(or_null(row.result));
  errors_.add(or_null(from_error(row.error)));
}

Parameters OutcomeInsert::parameters() const {
  return Parameters::of(keys_, sessions_, claimed_, started_, finished_, attempts_, charged_,
                        edits_, states_, ended_, ended_charged_, results_, errors_);
}

const Statement& AttemptInsert::statement() {
  static constexpr Statement kStatement{
      "insert_attempts",
      "INSERT INTO attempts(key, attempt, ended, charged, session, claimed, started, finished, "
      "error) SELECT key, attempt, ended, charged <> 0, session, claimed, started, finished, "
      "error FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], "
      "$6::bigint[], $7::bigint[], $8::bigint[], $9::text[]) u(key, attempt, ended, charged, "
      "session, claimed, started, finished, error)"};
  return kStatement;
}

void AttemptInsert::add(TaskKey key, const Attempt& attempt) {
  keys_.add(key);
  numbers_.add(int64_t{attempt.number});
  ended_.add(static_cast<int64_t>(*attempt.end));
  charged_.add(int64_t{attempt.charged});
  sessions_.add(or_null(attempt.worker));
  claimed_.add(or_null(attempt.claimed_at));
  started_.add(attempt.started_at);
  finished_.add(*attempt.ended_at);
  errors_.add(or_null(from_error(attempt.error)));
}

Parameters AttemptInsert::parameters() const {
  return Parameters::of(keys_, numbers_, ended_, charged_, sessions_, claimed_, started_, finished_,
                        errors_);
}

}  // namespace opscore::postgres
