#include "opscore/store/postgres/connection.h"

#include <fmt/format.h>
#include <poll.h>
#include <postgresql/libpq-fe.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

namespace opscore::postgres {
namespace {

using Kind = Failure::Kind;

// libpq ends its messages with a newline and may write several lines.
std::string one_line(const char* text) {
  std::string line(text == nullptr ? "" : text);
  while (!line.empty() && line.back() == '\n') line.pop_back();
  for (char& c : line)
    if (c == '\n') c = ' ';
  return line;
}

std::string field(const PGresult* result, int code) {
  const char* text = PQresultErrorField(result, code);
  return text == nullptr ? "" : text;
}

struct Judged {
  Kind kind;
  Errc code;
};

// By SQLSTATE, of which the first two characters are the class.
Judged judge(const std::string& state) {
  std::string_view group = std::string_view(state).substr(0, 2);
  // A key that somebody else took meanwhile is a lost race, too, and so is a mark (see kMark).
  if (state == "40001" || state == "40P01" || state == "23505" || state == "22012" ||
      state == "OS002")  // the settings have changed: see settings_rows.h
    return {Kind::conflict, Errc::unavailable};
  if (state == "53100") return {Kind::refused, Errc::disk_low};
  // Connection trouble, an operator's stop, a server that starts, or a standby after a failover.
  if (group == "08" || group == "57" || group == "58" || state == "25006" || state == "25P03")
    return {state == "57014" ? Kind::refused : Kind::lost, Errc::unavailable};
  if (group == "53" || state == kLockTimeout) return {Kind::refused, Errc::unavailable};
  if (group == "XX") return {Kind::refused, Errc::corrupt};
  return {Kind::refused, Errc::internal};
}

constexpr Statement kSetUp{
    "set_up",
    "SELECT set_config('search_path', $1::text, $2::bigint <> 0), "
    "set_config('enable_seqscan', 'off', $2::bigint <> 0), "
    "set_config('plan_cache_mode', 'force_generic_plan', $2::bigint <> 0), "
    "set_config('jit', 'off', $2::bigint <> 0), "
    "set_config('enable_sort', 'off', $2::bigint <> 0), "
    "set_config('enable_bitmapscan', 'off', $2::bigint <> 0), "
    "set_config('statement_timeout', $3::text, $2::bigint <> 0), "
    "set_config('lock_timeout', $4::text, $2::bigint <> 0), "
    "set_config('idle_in_transaction_session_timeout', $3::text, $2::bigint <> 0)"};
constexpr Statement kBegin{"begin_one", "BEGIN"};
constexpr Statement kCommit{"commit_one", "COMMIT"};
constexpr Statement kRollback{"rollback", "ROLLBACK"};

}  // namespace

// The first thing that went wrong in a pipeline.
struct Connection::Failed {
  struct Clear {
    void operator()(pg_result* result) const { PQclear(result); }
  };
  std::unique_ptr<pg_result, Clear> result;
  const Statement* statement = nullptr;

  std::string words() const { return one_line(PQresultErrorMessage(result.get())); }
  std::string state() const { return field(result.get(), PG_DIAG_SQLSTATE); }
  const char* sql() const { return statement == nullptr ? "" : statement->sql; }
};

bool may_concern_one(const Error& error) {
  const auto* failure = dynamic_cast<const Failure*>(&error);
  if (failure == nullptr) return !error.retryable();
  return failure->kind() != Kind::lost && failure->code() != Errc::disk_low;
}

Error no_time_to_try(const Error& together) {
  return Error(
      Errc::unavailable,
      fmt::format("no time was left to try it alone; together with others: {}", together.what()));
}

Rows::Rows(pg_result* result) : result_(result, PQclear), size_(PQntuples(result)) {}

int Rows::affected() const {
  return std::atoi(PQcmdTuples(result_.get()));
}

bool Rows::is_null(int row, int column) const {
  return PQgetisnull(result_.get(), row, column) != 0;
}

int64_t Rows::integer(int row, int column) const {
  if (is_null(row, column)) return 0;
  const char* bytes = PQgetvalue(result_.get(), row, column);
  int size = PQgetlength(result_.get(), row, column);
  uint64_t value = size > 0 && (bytes[0] & 0x80) != 0 && size > 1 ? ~uint64_t{0} : 0;
  for (int i = 0; i < size; ++i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return static_cast<int64_t>(value);
}

std::string_view Rows::text(int row, int column) const {
  return {PQgetvalue(result_.get(), row, column),
          static_cast<size_t>(PQgetlength(result_.get(), row, column))};
}

std::optional<TimePoint> Rows::optional_time(int row, int column) const {
  return is_null(row, column) ? std::nullopt : std::optional(time(row, column));
}

Connection::Connection(const ConnectOptions& options, Deadline deadline) : options_(options) {
  try {
    connect(deadline);
    if (PQenterPipelineMode(connection_) != 1) lose("it does not do pipelining");
    set_up();
  } catch (const Error&) {
    PQfinish(connection_);
    connection_ = nullptr;
    throw;
  }
}

Connection::~Connection() {
  PQfinish(connection_);
}

void Connection::connect(Deadline deadline) {
  // What stands before the URL is a default that it may override.
  const char* names[] = {
      "fallback_application_name", "keepalives_idle", "keepalives_interval", "keepalives_count",
      "tcp_user_timeout",          "dbname",          "client_encoding",     nullptr};
  const char* values[] = {"opscore", "5", "2", "2", "8000", options_.url.c_str(), "UTF8", nullptr};
  connection_ = PQconnectStartParams(names, values, 1);
  if (connection_ == nullptr) lose("out of memory");
  for (auto status = PGRES_POLLING_WRITING; status != PGRES_POLLING_OK;
       status = PQconnectPoll(connection_)) {
    if (status == PGRES_POLLING_FAILED || PQstatus(connection_) == CONNECTION_BAD)
      lose(one_line(PQerrorMessage(connection_)));
    wait(status == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline);
  }
  PQsetnonblocking(connection_, 1);
  PQsetNoticeProcessor(connection_, [](void*, const char*) {}, nullptr);
}

void Connection::set_up() {
  if (!options_.prepared) return;
  send(kSetUp, set_up_parameters(false));
  sync();
  clear();
}

void Connection::set_up_transaction() {
  if (!options_.prepared) send(kSetUp, set_up_parameters(true));
}

Parameters Connection::set_up_parameters(bool local) const {
  return Parameters::of(options_.schema, int64_t{local}, std::to_string(options_.timeout.count()),
                        std::to_string(options_.lock_timeout.count()));
}

bool Connection::usable() const {
  return !lost_ && PQstatus(connection_) == CONNECTION_OK;
}

bool Connection::idle() const {
  return expected_.empty() && PQtransactionStatus(connection_) == PQTRANS_IDLE;
}

int Connection::server_version() const {
  return PQserverVersion(connection_);
}

void Connection::lose(const std::string& why, const std::string& state) {
  lost_ = true;
  expected_.clear();
  const char* host = connection_ == nullptr ? nullptr : PQhost(connection_);
  const char* port = connection_ == nullptr ? nullptr : PQport(connection_);
  throw Failure(Kind::lost, Errc::unavailable,
                fmt::format("PostgreSQL at {}:{}: {}", host == nullptr ? "?" : host,
                            port == nullptr ? "?" : port, why),
                state);
}

void Connection::wait(short events, Deadline deadline, int extra_fd) {
  pollfd fds[2] = {{PQsocket(connection_), events, 0}, {extra_fd, POLLIN, 0}};
  for (;;) {
    auto left = deadline.left();
    int ready = ::poll(fds, extra_fd >= 0 ? 2 : 1,
                       static_cast<int>(std::min<int64_t>(left.count() + 1, 60'000)));
    if (ready > 0) return;
    if (ready < 0 && errno != EINTR) lose(std::generic_category().message(errno));
    if (!deadline.passed()) continue;
    if (extra_fd >= 0) return;
    lose("no answer in time; check that it runs and can be reached from here");
  }
}

size_t Connection::send(const Statement& statement, const Parameters& parameters) {
  if (!usable()) lose("the connection was lost before");
  std::vector<const char*> values;
  std::vector<int> lengths, formats(parameters.values().size(), 1);
  for (const auto& value : parameters.values()) {
    values.push_back(value ? value->data() : nullptr);
    lengths.push_back(value ? static_cast<int>(value->size()) : 0);
  }
  int count = static_cast<int>(values.size());
  int sent = 1;
  if (options_.prepared) {
    if (known_.insert(&statement).second) {
      sent = PQsendPrepare(connection_, statement.name, statement.sql, 0, nullptr);
      expected_.push_back({Expected::Kind::prepare, &statement});
    }
    sent = sent == 1 ? PQsendQueryPrepared(connection_, statement.name, count, values.data(),
                                           lengths.data(), formats.data(), 1)
                     : sent;
  } else {
    sent = PQsendQueryParams(connection_, statement.sql, count, nullptr, values.data(),
                             lengths.data(), formats.data(), 1);
  }
  if (sent != 1) lose(one_line(PQerrorMessage(connection_)));
  expected_.push_back({Expected::Kind::rows, &statement});
  size_t index = rows_.size();
  for (const Expected& expected : expected_) index += expected.kind == Expected::Kind::rows;
  return index - 1;
}

void Connection::flush() {
  if (PQsendFlushRequest(connection_) != 1) lose(one_line(PQerrorMessage(connection_)));
  receive();
}

void Connection::sync() {
  if (PQpipelineSync(connection_) != 1) lose(one_line(PQerrorMessage(connection_)));
  expected_.push_back({Expected::Kind::sync, nullptr});
  receive();
}

pg_result* Connection::next_result(Deadline deadline) {
  for (;;) {
    int unsent = PQflush(connection_);
    if (unsent < 0) lose(one_line(PQerrorMessage(connection_)));
    if (unsent == 0 && PQisBusy(connection_) == 0) return PQgetResult(connection_);
    wait(static_cast<short>(unsent == 1 ? POLLIN | POLLOUT : POLLIN), deadline);
    if (PQconsumeInput(connection_) != 1) lose(one_line(PQerrorMessage(connection_)));
  }
}

void Connection::receive() {
  Failed failed;
  try {
    collect(failed);
  } catch (const Failure&) {
    if (failed.result == nullptr) throw;
    lose(failed.words(), failed.state());  // the server has said why before it went away
  }
  if (failed.result != nullptr) fail(failed.sql(), failed.result.release());
}

void Connection::collect(Failed& failed) {
  Deadline deadline = Deadline::after(options_.timeout);
  auto awaited = std::exchange(expected_, {});
  for (const Expected& each : awaited) {
    while (pg_result* result = next_result(deadline)) {
      auto status = PQresultStatus(result);
      bool good =
          status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK || status == PGRES_EMPTY_QUERY;
      if (good && each.kind == Expected::Kind::rows) {
        rows_.emplace_back(result);
        continue;
      }
      if (!good && each.kind == Expected::Kind::prepare) known_.erase(each.statement);
      if (!good && status != PGRES_PIPELINE_SYNC && status != PGRES_PIPELINE_ABORTED &&
          failed.result == nullptr) {
        failed.result.reset(result);
        failed.statement = each.statement;
        continue;
      }
      PQclear(result);
      if (status == PGRES_PIPELINE_SYNC) break;
    }
    if (!usable()) lose("the connection was cut");
  }
}

void Connection::fail(const std::string& sql, pg_result* result) {
  std::string state = field(result, PG_DIAG_SQLSTATE);
  std::string message = one_line(PQresultErrorMessage(result));
  PQclear(result);
  Judged judged = judge(state);
  if (state.empty() || judged.kind == Kind::lost) lose(message, state);
  throw Failure(judged.kind, judged.code,
                fmt::format("PostgreSQL refused '{}': {}", sql.substr(0, 60), message), state);
}

void Connection::rollback() {
  rows_.clear();
  if (PQpipelineStatus(connection_) == PQ_PIPELINE_ABORTED || !expected_.empty()) sync();
  send(kRollback);
  sync();
  rows_.clear();
}

Rows Connection::query(const Statement& statement, const Parameters& parameters) {
  if (!options_.prepared) {
    send(kBegin);
    set_up_transaction();
  }
  size_t index = send(statement, parameters);
  if (!options_.prepared) send(kCommit);
  sync();
  Rows rows = rows_.at(index);
  rows_.clear();
  return rows;
}

void Connection::execute(const std::string& sql) {
  if (PQexitPipelineMode(connection_) != 1) lose(one_line(PQerrorMessage(connection_)));
  if (PQsendQuery(connection_, sql.c_str()) != 1) lose(one_line(PQerrorMessage(connection_)));
  Deadline deadline = Deadline::after(options_.timeout * 10);  // schemas are made with it
  pg_result* failed = nullptr;
  while (pg_result* result = next_result(deadline)) {
    auto status = PQresultStatus(result);
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK && failed == nullptr)
      failed = result;
    else
      PQclear(result);
  }
  if (!usable()) {
    PQclear(failed);
    lose("the connection was cut");
  }
  if (PQenterPipelineMode(connection_) != 1) lose(one_line(PQerrorMessage(connection_)));
  if (failed != nullptr) fail(sql, failed);
}

std::string Connection::begin() const {
  return options_.prepared ? "BEGIN; "
                           : fmt::format("BEGIN; SET LOCAL search_path = {}; ", options_.schema);
}

void Connection::wait_for_news(int wake_fd, Deadline deadline) {
  wait(POLLIN, deadline, wake_fd);
  if (PQconsumeInput(connection_) != 1) lose(one_line(PQerrorMessage(connection_)));
}

std::vector<Connection::Notification> Connection::notifications() {
  std::vector<Notification> received;
  while (PGnotify* notify = PQnotifies(connection_)) {
    received.push_back({notify->be_pid, notify->extra});
    PQfreemem(notify);
  }
  return received;
}

}  // namespace opscore::postgres
