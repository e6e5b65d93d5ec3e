#include "opscore/api/site_guard.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>

#include "opscore/api/problem.h"
#include "opscore/api/routes.h"
#include "opscore/base/json.h"

namespace opscore {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return out;
}

bool is_number(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

struct Authority {
  std::string host;  // lower case, without brackets and the final dot
  std::string port;  // empty: the default
  bool operator==(const Authority&) const = default;
};

Authority parse_authority(std::string_view text) {
  Authority out;
  size_t colon = text.rfind(':');
  if (colon != text.npos && text.find(']', colon) == text.npos &&
      is_number(text.substr(colon + 1))) {
    out.port = text.substr(colon + 1);
    text = text.substr(0, colon);
  }
  if (text.starts_with('[') && text.ends_with(']')) text = text.substr(1, text.size() - 2);
  if (text.size() > 1 && text.ends_with('.')) text.remove_suffix(1);
  out.host = lower(text);
  return out;
}

bool is_address(const std::string& host) {
  in6_addr address;
  return ::inet_pton(AF_INET, host.c_str(), &address) == 1 ||
         ::inet_pton(AF_INET6, host.c_str(), &address) == 1;
}

// The page's own site, as the browser names it, is the one that is asked.
bool is_foreign(const ApiRequest& request) {
  if (!request.origin.empty()) {
    std::string_view origin = request.origin;
    size_t slashes = origin.find("://");
    if (slashes == origin.npos) return true;  // "null"
    std::string_view scheme = origin.substr(0, slashes);
    Authority page = parse_authority(origin.substr(slashes + 3));
    Authority here = parse_authority(request.host);
    std::string_view usual = scheme == "https" ? "443" : "80";
    if (page.port == usual) page.port.clear();
    if (here.port == usual) here.port.clear();
    if (page != here) return true;
  }
  bool changes = request.method != "GET" && request.method != "HEAD";
  return changes && !request.same_site;
}

}  // namespace

bool is_loopback_host(std::string_view host) {
  in_addr v4;
  in6_addr v6;
  std::string text(host);
  if (text == "localhost" || text.ends_with(".localhost")) return true;
  if (::inet_pton(AF_INET, text.c_str(), &v4) == 1) return ntohl(v4.s_addr) >> 24 == 127;
  return ::inet_pton(AF_INET6, text.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

SiteGuard::SiteGuard(SiteGuardOptions options)
    : options_([&] {
        for (std::string& host : options.hosts) host = parse_authority(host).host;
        return std::move(options);
      }()) {}

bool SiteGuard::is_known_host(std::string_view host) const {
  std::string name = parse_authority(host).host;
  return is_loopback_host(name) || (options_.any_address && is_address(name)) ||
         std::find(options_.hosts.begin(), options_.hosts.end(), name) != options_.hosts.end();
}

std::optional<SiteGuard::Refused> SiteGuard::check(const ApiRequest& request) const {
  auto refuse = [](Refusal reason, const std::string& detail) {
    return Refused{reason, problem(Error(Errc::forbidden, detail))};
  };
  // Only HTTP/1.0 comes without, and no browser speaks that.
  if (request.has_host && !is_known_host(request.host))
    return refuse(
        Refusal::foreign_host,
        fmt::format("this server is not known as '{}', and without an API token it answers only to "
                    "names it knows, so that no web page can reach it under one of its own; add "
                    "the name to server.allowed_hosts (OPSCORE_SERVER_ALLOWED_HOSTS), or set "
                    "OPSCORE_API_TOKEN",
                    to_valid_utf8(request.host.substr(0, 200))));
  if (is_foreign(request))
    return refuse(
        Refusal::foreign_origin,
        fmt::format("requests from web pages of {} are refused while no API token is "
                    "set; set OPSCORE_API_TOKEN and have the page's own server ask",
                    request.origin.empty() ? "another site"
                                           : to_valid_utf8(request.origin.substr(0, 200))));
  if (request.from_browser && request.has_body && request.method != "GET" &&
      request.method != "HEAD" && !is_declared_json(request.content_type))
    return Refused{
        Refusal::body_type,
        problem(kUnsupportedType, fmt::format("a browser has to say that the body is JSON, with "
                                              "Content-Type: application/json; it says '{}'",
                                              to_valid_utf8(request.content_type.substr(0, 200))))};
  return std::nullopt;
}

}  // namespace opscore
