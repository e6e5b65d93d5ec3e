#pragma once
// URLs as libcurl reads them, so that what was checked is what is called. Pure.

#include <expected>
#include <string>
#include <string_view>

namespace opscore {

struct HttpUrl {
  std::string host;  // lower case; an IPv4 address in its dotted form however it was spelled
                     // ("0x7f.1" is "127.0.0.1"), an IPv6 address without brackets
  bool has_credentials = false;
};

// An absolute http:// or https:// URL; else what is wrong with it, to follow the name of a field.
std::expected<HttpUrl, std::string> parse_http_url(const std::string& text);

// The URL without user, password, query and fragment: for messages and logs.
std::string printable_url(std::string_view url);

}  // namespace opscore
