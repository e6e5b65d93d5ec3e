#include "opscore/broker/rabbitmq/amqp_url.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "opscore/broker/percent.h"

namespace opscore {
namespace {

constexpr size_t kPartMax = 255;  // AMQP's short strings

Error bad(std::string_view what) {
  return Error(Errc::invalid, fmt::format("RabbitMQ URL: {}", what));
}

std::expected<std::string, Error> decode(std::string_view part, std::string_view name) {
  auto decoded = percent_decode(part);
  if (!decoded)
    return std::unexpected(bad(fmt::format(
        "the {} has a % that two hexadecimal digits do not follow; a plain % is %25", name)));
  std::string& out = *decoded;
  if (out.find('\0') != std::string::npos)
    return std::unexpected(bad(fmt::format("the {} contains a zero byte", name)));
  if (out.size() > kPartMax)
    return std::unexpected(
        bad(fmt::format("the {} is {} bytes long, at most {}", name, out.size(), kPartMax)));
  return *std::move(decoded);
}

std::string encode(std::string_view text) {
  std::string out;
  for (unsigned char c : text) {
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                 std::string_view("-._~").find(static_cast<char>(c)) != std::string_view::npos;
    out += plain ? std::string(1, static_cast<char>(c)) : fmt::format("%{:02X}", c);
  }
  return out;
}

std::optional<uint64_t> number(std::string_view text, uint64_t min, uint64_t max) {
  uint64_t value = 0;
  auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (value < min || value > max) return std::nullopt;
  return value;
}

// Takes what is before the first `separator` off `rest`; all of it when there is none.
std::string_view take_until(std::string_view& rest, char separator) {
  size_t at = rest.find(separator);
  std::string_view part = rest.substr(0, at);
  rest = at == std::string_view::npos ? std::string_view() : rest.substr(at + 1);
  return part;
}

std::optional<Error> read_host(std::string_view text, AmqpUrl& url) {
  std::string_view host = text;
  std::string_view port;
  bool has_port = false;
  if (text.starts_with('[')) {
    size_t end = text.find(']');
    if (end == std::string_view::npos) return bad("a '[' without ']' in the host");
    host = text.substr(1, end - 1);
    std::string_view rest = text.substr(end + 1);
    has_port = rest.starts_with(':');
    if (!rest.empty() && !has_port) return bad("only a :port may follow the ']' of the host");
    if (has_port) port = rest.substr(1);
  } else if (size_t colon = text.rfind(':'); colon != std::string_view::npos) {
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
    has_port = true;
  }
  if (has_port && !port.empty()) {
    auto value = number(port, 1, 65535);
    if (!value)
      return bad(
          "the port is not a number from 1 to 65535; in user and password write / ? # [ ] @ : and "
          "% percent-encoded");
    url.port = static_cast<uint16_t>(*value);
  }
  auto decoded = decode(host, "host");
  if (!decoded) return decoded.error();
  if (!decoded->empty()) url.host = *decoded;
  return std::nullopt;
}

std::optional<Error> read_credentials(std::string_view text, AmqpUrl& url) {
  std::string_view rest = text;
  auto user = decode(take_until(rest, ':'), "user");
  if (!user) return user.error();
  auto password = decode(rest, "password");
  if (!password) return password.error();
  url.user = *user;
  url.password = *password;
  return std::nullopt;
}

// layout: table
std::optional<Error> read_option(std::string_view name, std::string value, AmqpUrl& url) {
  if (name == "heartbeat") {
    auto seconds = number(value, 1, 3600);
    if (!seconds) return bad("heartbeat must be 1 to 3600 seconds");
    url.heartbeat = std::chrono::seconds(*seconds);
  } else if (name == "connection_timeout") {
    auto ms = number(value, 1, 60'000);
    if (!ms) return bad("connection_timeout must be 1 to 60000 milliseconds");
    url.connection_timeout = Duration(*ms);
  } else if (name == "cacertfile") {
    url.ca_file = std::move(value);
  } else if (name == "certfile") {
    url.certificate_file = std::move(value);
  } else if (name == "keyfile") {
    url.key_file = std::move(value);
  } else if (name == "verify") {
    if (value != "verify_peer" && value != "verify_none")
      return bad("verify must be verify_peer or verify_none");
    url.verify = value == "verify_peer";
  } else {
    return bad(
        "unknown option; known: heartbeat, connection_timeout, cacertfile, certfile, keyfile, "
        "verify");
  }
  return std::nullopt;
}

std::optional<Error> read_options(std::string_view query, AmqpUrl& url) {
  while (!query.empty()) {
    std::string_view option = take_until(query, '&');
    std::string_view value = option;
    std::string_view name = take_until(value, '=');
    auto decoded = decode(value, "value of an option");
    if (!decoded) return decoded.error();
    bool of_tls = name.ends_with("file") || name == "verify";
    if (of_tls && !url.tls) return bad(fmt::format("{} takes amqps://", name));
    if (auto error = read_option(name, std::move(*decoded), url)) return error;
  }
  if (url.certificate_file.empty() != url.key_file.empty())
    return bad("certfile and keyfile go together");
  return std::nullopt;
}

std::expected<AmqpUrl, Error> parse_one(std::string_view text) {
  AmqpUrl url;
  url.tls = text.starts_with("amqps://");
  if (!url.tls && !text.starts_with("amqp://"))
    return std::unexpected(bad("must start with amqp:// or amqps://"));
  if (url.tls) url.port = 5671;
  std::string_view query = text.substr(text.find("://") + 3);
  if (query.find('#') != std::string_view::npos)
    return std::unexpected(bad("a '#' has no meaning here; in a user or password write %23"));
  std::string_view path = take_until(query, '?');
  bool has_path = path.find('/') != std::string_view::npos;
  std::string_view authority = take_until(path, '/');
  if (size_t at = authority.rfind('@'); at != std::string_view::npos) {
    if (auto error = read_credentials(authority.substr(0, at), url)) return std::unexpected(*error);
    authority = authority.substr(at + 1);
  }
  if (auto error = read_host(authority, url)) return std::unexpected(*error);
  if (path.find_first_of("/@") != std::string_view::npos)
    return std::unexpected(
        bad("the vhost contains a plain / or @; percent-encode it (/ is %2F, @ is %40), in a "
            "password too"));
  auto vhost = decode(path, "vhost");
  if (!vhost) return std::unexpected(vhost.error());
  if (has_path) url.vhost = *vhost;
  if (auto error = read_options(query, url)) return std::unexpected(*error);
  return url;
}

}  // namespace

std::string AmqpUrl::where() const {
  bool bracketed = host.find(':') != std::string::npos;
  return fmt::format("{}://{}{}{}:{}/{}", tls ? "amqps" : "amqp", bracketed ? "[" : "", host,
                     bracketed ? "]" : "", port, encode(vhost));
}

std::expected<std::vector<AmqpUrl>, Error> parse_amqp_urls(std::string_view text) {
  std::vector<AmqpUrl> urls;
  for (;;) {
    // A separator is one only before another URL: both may stand in a password.
    size_t end = text.size();
    for (std::string_view next : {",amqp://", ",amqps://", ";amqp://", ";amqps://"})
      end = std::min(end, text.find(next));
    auto url = parse_one(text.substr(0, end));
    if (!url) return std::unexpected(url.error());
    urls.push_back(std::move(*url));
    if (end == text.size()) return urls;
    text.remove_prefix(end + 1);
  }
}

}  // namespace opscore
