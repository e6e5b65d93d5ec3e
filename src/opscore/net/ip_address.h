#pragma once
// IP addresses and ranges as plain values. IPv4 addresses are kept in their IPv4-mapped form, so
// that 127.0.0.1 and ::ffff:127.0.0.1 are the same address. Pure.

#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace opscore {

struct IpAddress {
  std::array<uint8_t, 16> bytes{};  // network order
  bool operator==(const IpAddress&) const = default;

  // "127.0.0.1", "::1"; no brackets, zone or port.
  static std::optional<IpAddress> parse(std::string_view text);
  // Nothing for other families.
  static std::optional<IpAddress> of(const sockaddr& address);

  bool is_v4() const;
  std::string text() const;  // dotted when it is IPv4
};

// "10.0.0.0/8", "fd00::/8", or a single address.
struct IpRange {
  IpAddress first;
  int prefix = 128;  // leading bits that count, of all 128

  static std::optional<IpRange> parse(std::string_view text);
  bool contains(const IpAddress& address) const;
};

}  // namespace opscore
