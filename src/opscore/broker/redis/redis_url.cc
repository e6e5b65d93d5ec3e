#include "opscore/broker/redis/redis_url.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>

#include "opscore/broker/percent.h"

namespace opscore {
namespace {

constexpr int kDatabaseMax = 1'000'000;

std::unexpected<Error> bad(std::string_view what) {
  return std::unexpected(Error(Errc::invalid, fmt::format("Redis URL: {}", what)));
}

std::optional<int> number(std::string_view text, int min, int max) {
  int value = 0;
  auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value >= min && value <= max ? std::optional(value) : std::nullopt;
}

// Whether it could be read.
bool read_credentials(std::string_view text, RedisUrl& url) {
  const size_t colon = text.find(':');
  auto user = percent_decode(text.substr(0, colon));
  auto password = colon == text.npos ? std::string() : percent_decode(text.substr(colon + 1));
  if (!user || !password) return false;
  url.user = *std::move(user);
  url.password = *std::move(password);
  return true;
}

bool read_host(std::string_view text, RedisUrl& url) {
  std::string_view host = text, port;
  if (text.starts_with('[')) {
    const size_t end = text.find(']');
    if (end == text.npos) return false;
    host = text.substr(1, end - 1);
    port = text.substr(end + 1);
    if (!port.empty() && !port.starts_with(':')) return false;
    if (!port.empty()) port.remove_prefix(1);
  } else if (const size_t colon = text.rfind(':'); colon != text.npos) {
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
  }
  if (!host.empty()) url.host = host;
  if (port.empty()) return true;
  const auto value = number(port, 1, 65535);
  if (value) url.port = static_cast<uint16_t>(*value);
  return value.has_value();
}

}  // namespace

std::string RedisUrl::where() const {
  const bool bracketed = host.find(':') != std::string::npos;
  return fmt::format("redis://{}{}{}:{}/{}", bracketed ? "[" : "", host, bracketed ? "]" : "", port,
                     database);
}

std::expected<RedisUrl, Error> parse_redis_url(std::string_view text) {
  static constexpr std::string_view kScheme = "redis://";
  if (text.starts_with("rediss://"))
    return bad("TLS (rediss://) is not spoken here; put a tunnel such as stunnel in between");
  if (!text.starts_with(kScheme)) return bad("must start with redis://");
  RedisUrl url;
  std::string_view rest = text.substr(kScheme.size());
  if (rest.find_first_of("?#") != rest.npos)
    return bad("options have no meaning here; in a user or password write %3F for ? and %23 for #");
  std::string_view path;
  if (const size_t slash = rest.find('/'); slash != rest.npos) {
    path = rest.substr(slash + 1);
    rest = rest.substr(0, slash);
  }
  if (const size_t at = rest.rfind('@'); at != rest.npos) {
    if (!read_credentials(rest.substr(0, at), url))
      return bad(
          "user or password has a % that two hexadecimal digits do not follow; a plain % is %25");
    rest = rest.substr(at + 1);
  }
  if (!read_host(rest, url))
    return bad(
        "after the host comes a port from 1 to 65535; in user and password write / @ : and % "
        "percent-encoded");
  if (!path.empty()) {
    const auto database = number(path, 0, kDatabaseMax);
    if (!database) return bad("the path is the number of a database; in a password write / as %2F");
    url.database = *database;
  }
  return url;
}

}  // namespace opscore
