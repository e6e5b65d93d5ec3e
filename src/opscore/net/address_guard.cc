#include "opscore/net/address_guard.h"

#include <fmt/format.h>

#include <algorithm>

#include "opscore/net/url.h"

namespace opscore {
namespace {

struct Kind {
  IpRange range;
  const char* words;
};

// What IANA's registries of special-purpose addresses list as not globally reachable, and where
// clouds keep their metadata. What has no row and is not in 2000::/3 is not public either.
// layout: table
std::vector<Kind> special_kinds() {
  struct Row {
    const char* range;
    const char* words;
  };
  static constexpr Row kRows[] = {
      {"0.0.0.0/8", "an unspecified address"},
      {"10.0.0.0/8", "a private address"},
      {"100.64.0.0/10", "an address behind a carrier's NAT"},
      {"127.0.0.0/8", "a loopback address"},
      {"168.63.129.16/32", "a cloud's metadata service"},
      {"169.254.0.0/16", "a link-local address"},
      {"172.16.0.0/12", "a private address"},
      {"192.0.0.0/24", "a reserved address"},
      {"192.0.2.0/24", "an address for documentation"},
      {"192.88.99.0/24", "a reserved address"},
      {"192.168.0.0/16", "a private address"},
      {"198.18.0.0/15", "an address for benchmarks"},
      {"198.51.100.0/24", "an address for documentation"},
      {"203.0.113.0/24", "an address for documentation"},
      {"224.0.0.0/4", "a multicast address"},
      {"240.0.0.0/4", "a reserved address"},
      {"::/128", "an unspecified address"},
      {"::1/128", "a loopback address"},
      {"fc00::/7", "a private address"},
      {"fe80::/10", "a link-local address"},
      {"fec0::/10", "a private address"},
      {"ff00::/8", "a multicast address"},
      {"2001::/23", "a reserved address"},
      {"2001:db8::/32", "an address for documentation"},
      {"2002::/16", "a tunnel's address"},
      {"3fff::/20", "an address for documentation"},
  };
  std::vector<Kind> kinds;
  for (const Row& row : kRows) kinds.push_back({*IpRange::parse(row.range), row.words});
  return kinds;
}

bool within(const IpAddress& address, const char* range) {
  return IpRange::parse(range)->contains(address);
}

// What a translator at 64:ff9b::/96 makes of it.
IpAddress translated(const IpAddress& address) {
  IpAddress inner = *IpAddress::parse("0.0.0.0");
  std::copy(address.bytes.end() - 4, address.bytes.end(), inner.bytes.end() - 4);
  return inner;
}

std::optional<std::string> kind_words(const IpAddress& address) {
  for (const Kind& kind : special_kinds())
    if (kind.range.contains(address)) return kind.words;
  if (!address.is_v4() && !within(address, "2000::/3")) return "not a public address";
  return std::nullopt;
}

bool is_local_name(std::string_view host) {
  return host == "localhost" || host.ends_with(".localhost");
}

}  // namespace

std::optional<std::string> AddressGuard::problem(const IpAddress& address) const {
  for (const IpRange& range : allowed_)
    if (range.contains(address)) return std::nullopt;
  if (within(address, "64:ff9b::/96")) return problem(translated(address));
  const auto words = kind_words(address);
  if (!words) return std::nullopt;
  return fmt::format("{} is {}; net.allow in the server's configuration can open it",
                     address.text(), *words);
}

std::optional<std::string> AddressGuard::url_problem(const std::string& text) const {
  const auto url = parse_http_url(text);
  if (!url) return url.error();
  if (url->has_credentials) return "has a user or password in it; send a header instead";
  std::string_view host = url->host;
  if (host.ends_with('.')) host.remove_suffix(1);
  if (const auto address = IpAddress::parse(host)) return problem(*address);
  if (!is_local_name(host)) return std::nullopt;
  const auto v4 = problem(*IpAddress::parse("127.0.0.1"));
  return v4 && problem(*IpAddress::parse("::1")) ? v4 : std::nullopt;
}

}  // namespace opscore
