#pragma once
// A database URL as people have it, made into one that libpq reads.

#include <string>
#include <string_view>
#include <vector>

namespace opscore::postgres {

struct DatabaseUrl {
  std::string url;                 // for libpq
  bool pooled = false;             // `pgbouncer=true`: nothing may be left in a session
  std::vector<std::string> notes;  // what was changed, in words for people
};

// Takes libpq's URLs as they are, and those of SQLAlchemy ("postgresql+asyncpg://...?ssl=require"):
// the driver and its own options are taken off, `ssl` becomes `sslmode`. Throws Error{invalid} when
// it is not a URL of PostgreSQL.
DatabaseUrl parse_database_url(std::string_view text);

// Without the password, for people and logs.
std::string without_password(std::string_view url);

}  // namespace opscore::postgres
