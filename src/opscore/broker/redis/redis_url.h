#pragma once
// redis://[[user]:password@][host][:port][/database], as redis-py has it. Parts are
// percent-decoded.

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

#include "opscore/base/error.h"

namespace opscore {

struct RedisUrl {
  std::string host = "localhost";
  uint16_t port = 6379;
  std::string user;      // empty: Redis' own default user
  std::string password;  // empty: none is asked for
  int database = 0;

  // For messages and logs.
  std::string where() const;
};

// Errors are Errc::invalid and never quote what could be part of a password.
std::expected<RedisUrl, Error> parse_redis_url(std::string_view text);

}  // namespace opscore
