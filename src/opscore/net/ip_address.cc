#include "opscore/net/ip_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace opscore {
namespace {

constexpr std::array<uint8_t, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr int kMappedBits = 96;

IpAddress mapped(const in_addr& v4) {
  IpAddress address;
  std::copy(kMapped.begin(), kMapped.end(), address.bytes.begin());
  std::memcpy(address.bytes.data() + kMapped.size(), &v4, sizeof v4);
  return address;
}

IpAddress from(const in6_addr& v6) {
  IpAddress address;
  std::memcpy(address.bytes.data(), &v6, sizeof v6);
  return address;
}

}  // namespace

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
  const std::string host(text);
  in_addr v4{};
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return mapped(v4);
  in6_addr v6{};
  if (inet_pton(AF_INET6, host.c_str(), &v6) == 1) return from(v6);
  return std::nullopt;
}

std::optional<IpAddress> IpAddress::of(const sockaddr& address) {
  if (address.sa_family == AF_INET)
    return mapped(reinterpret_cast<const sockaddr_in&>(address).sin_addr);
  if (address.sa_family == AF_INET6)
    return from(reinterpret_cast<const sockaddr_in6&>(address).sin6_addr);
  return std::nullopt;
}

bool IpAddress::is_v4() const {
  return std::equal(kMapped.begin(), kMapped.end(), bytes.begin());
}

std::string IpAddress::text() const {
  char out[INET6_ADDRSTRLEN] = {};
  const uint8_t* from = bytes.data() + (is_v4() ? kMapped.size() : 0);
  inet_ntop(is_v4() ? AF_INET : AF_INET6, from, out, sizeof out);
  return out;
}

std::optional<IpRange> IpRange::parse(std::string_view text) {
  const size_t slash = text.find('/');
  const auto address = IpAddress::parse(text.substr(0, slash));
  if (!address) return std::nullopt;
  IpRange range{*address, 128};
  if (slash == std::string_view::npos) return range;
  const std::string_view digits = text.substr(slash + 1);
  const bool dotted = text.find(':') == std::string_view::npos;
  int bits = -1;
  const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), bits);
  if (problem != std::errc() || end != digits.data() + digits.size() || bits < 0 ||
      bits > (dotted ? 32 : 128))
    return std::nullopt;
  range.prefix = bits + (dotted ? kMappedBits : 0);
  return range;
}

bool IpRange::contains(const IpAddress& address) const {
  const auto whole = static_cast<size_t>(prefix / 8);
  const int rest = prefix % 8;
  if (!std::equal(address.bytes.begin(), address.bytes.begin() + static_cast<ptrdiff_t>(whole),
                  first.bytes.begin()))
    return false;
  return rest == 0 || (address.bytes[whole] ^ first.bytes[whole]) >> (8 - rest) == 0;
}

}  // namespace opscore
