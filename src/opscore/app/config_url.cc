#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "opscore/app/config_value.h"

namespace opscore {
namespace {

// What libpq 15 takes in the query of a URL, and what the store takes beside it. Anything else
// belonged to the driver that was named.
constexpr std::array kLibpqOptions = {"pgbouncer",
                                      "host",
                                      "hostaddr",
                                      "port",
                                      "dbname",
                                      "user",
                                      "password",
                                      "passfile",
                                      "connect_timeout",
                                      "options",
                                      "application_name",
                                      "fallback_application_name",
                                      "client_encoding",
                                      "keepalives",
                                      "keepalives_idle",
                                      "keepalives_interval",
                                      "keepalives_count",
                                      "tcp_user_timeout",
                                      "sslmode",
                                      "sslcompression",
                                      "sslcert",
                                      "sslkey",
                                      "sslpassword",
                                      "sslrootcert",
                                      "sslcrl",
                                      "sslcrldir",
                                      "sslsni",
                                      "ssl_min_protocol_version",
                                      "ssl_max_protocol_version",
                                      "requirepeer",
                                      "gssencmode",
                                      "krbsrvname",
                                      "service",
                                      "target_session_attrs",
                                      "channel_binding",
                                      "replication"};

bool is_libpq_option(std::string_view name) {
  return std::find(kLibpqOptions.begin(), kLibpqOptions.end(), name) != kLibpqOptions.end();
}

// asyncpg spells sslmode as ssl.
std::optional<std::string> sslmode_from(std::string_view value) {
  if (value == "true" || value == "True" || value == "1") return "sslmode=require";
  for (std::string_view mode :
       {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"})
    if (value == mode) return fmt::format("sslmode={}", mode);
  return std::nullopt;
}

std::string strip_query(std::string_view query, std::vector<std::string>& notes) {
  std::string kept;
  while (!query.empty()) {
    size_t end = std::min(query.find('&'), query.size());
    std::string_view option = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    size_t equals = std::min(option.find('='), option.size());
    std::string_view name = option.substr(0, equals);
    std::string_view value = option.substr(std::min(equals + 1, option.size()));
    std::string keep(option);
    if (name == "ssl" && sslmode_from(value)) {
      keep = *sslmode_from(value);
      notes.push_back(fmt::format("the URL's option ssl={} became {}", value, keep));
    } else if (!is_libpq_option(name)) {
      if (!name.empty())
        notes.push_back(fmt::format("the URL's option '{}' was stripped: libpq has none", name));
      continue;
    }
    kept += (kept.empty() ? "?" : "&") + keep;
  }
  return kept;
}

std::expected<DatabaseUrl, Error> sqlite_url(std::string_view rest, DatabaseUrl url) {
  auto fail = [](std::string_view what) {
    return std::unexpected(Error(Errc::invalid, std::string(what)));
  };
  size_t question = rest.find('?');
  if (question != std::string_view::npos) {
    url.notes.push_back("the options after ? in the sqlite URL were stripped");
    rest = rest.substr(0, question);
  }
  if (!rest.starts_with('/'))
    return fail(
        "must be sqlite:///relative/path or sqlite:////absolute/path: a host makes no sense");
  url.kind = DatabaseUrl::Kind::sqlite;
  url.path = rest.substr(1);
  if (url.path.empty() || url.path == ":memory:")
    return fail(
        "names a database in memory, which would lose every task: name a file, as in "
        "sqlite:///opscore-data/opscore.db");
  return url;
}

}  // namespace

std::expected<DatabaseUrl, Error> parse_database_url(std::string_view text) {
  DatabaseUrl url;
  size_t colon = text.find("://");
  std::string_view scheme = text.substr(0, colon);
  size_t plus = scheme.find('+');
  std::string_view dialect = scheme.substr(0, plus);
  bool is_sqlite = dialect == "sqlite";
  bool is_postgresql = dialect == "postgresql" || dialect == "postgres";
  if (colon == std::string_view::npos && text == "sqlite:") return sqlite_url("/", std::move(url));
  if (colon == std::string_view::npos || (!is_sqlite && !is_postgresql))
    return std::unexpected(Error(Errc::invalid,
                                 "must start with sqlite:/// or postgresql:// (a SQLAlchemy driver "
                                 "such as +asyncpg is fine)"));
  if (plus != std::string_view::npos)
    url.notes.push_back(fmt::format("the driver '{}' of the URL was stripped: opscore has its own",
                                    scheme.substr(plus)));
  std::string_view rest = text.substr(colon + 3);
  if (is_sqlite) return sqlite_url(rest.empty() ? "/" : rest, std::move(url));
  url.kind = DatabaseUrl::Kind::postgresql;
  size_t question = std::min(rest.find('?'), rest.size());
  std::string_view query = rest.substr(std::min(question + 1, rest.size()));
  url.url =
      fmt::format("postgresql://{}{}", rest.substr(0, question), strip_query(query, url.notes));
  return url;
}

std::string mask_url(std::string_view url) {
  size_t start = url.find("://");
  if (start == std::string_view::npos) return std::string(url);
  start += 3;
  std::string masked(url);
  // The last @, wherever it stands: a password with an unescaped / or ? must not leak either.
  size_t at = url.rfind('@');
  if (at != std::string_view::npos && at >= start) {
    size_t colon = url.find(':', start);
    if (colon < at) masked.replace(colon + 1, at - colon - 1, "***");
  }
  for (std::string_view name : {"?password=", "&password=", "?sslpassword=", "&sslpassword="}) {
    size_t found = masked.find(name);
    if (found == std::string::npos) continue;
    size_t value = found + name.size();
    masked.replace(value, std::min(masked.find('&', value), masked.size()) - value, "***");
  }
  return masked;
}

}  // namespace opscore
