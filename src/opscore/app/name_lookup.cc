#include "opscore/app/name_lookup.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <netdb.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <memory>
#include <set>

namespace opscore {
namespace {

// The resolver of the C library cannot be interrupted, and may wait for ten seconds: this one works
// on a thread of that library, which owns the request until it is done.
struct Lookup {
  explicit Lookup(const std::string& host) : name(host) { request.ar_name = name.c_str(); }
  Lookup(const Lookup&) = delete;
  ~Lookup() {
    if (request.ar_result) ::freeaddrinfo(request.ar_result);
  }
  std::string name;
  gaicb request{};
};

std::string words_of(const Lookup& lookup) {
  const int state = ::gai_error(const_cast<gaicb*>(&lookup.request));
  if (state == EAI_INPROGRESS) return "not resolved in time";
  if (state != 0) return ::gai_strerror(state);
  std::set<std::string> addresses;
  for (const addrinfo* each = lookup.request.ar_result; each; each = each->ai_next) {
    std::array<char, INET6_ADDRSTRLEN> text{};
    const void* address =
        each->ai_family == AF_INET6
            ? static_cast<const void*>(&reinterpret_cast<sockaddr_in6*>(each->ai_addr)->sin6_addr)
            : &reinterpret_cast<sockaddr_in*>(each->ai_addr)->sin_addr;
    if (each->ai_family != AF_INET && each->ai_family != AF_INET6) continue;
    ::inet_ntop(each->ai_family, address, text.data(), text.size());
    addresses.insert(text.data());
  }
  return fmt::format("{}", fmt::join(addresses, ", "));
}

}  // namespace

std::vector<std::string> hosts_of(const std::vector<std::string>& urls) {
  std::vector<std::string> hosts;
  for (const std::string& text : urls)
    for (size_t at = text.find("://"); at != text.npos;) {
      const size_t next = text.find("://", at + 3);
      std::string host = text.substr(at + 3, next == text.npos ? next : next - at - 3);
      host = host.substr(host.rfind('@') + 1);  // a password may hold anything
      host = host.substr(0, host.find_first_of("/?# ,"));
      at = next;
      host = host.starts_with('[') ? host.substr(1, host.find(']') - 1)
                                   : host.substr(0, host.find(':'));
      if (!host.empty() && std::ranges::find(hosts, host) == hosts.end()) hosts.push_back(host);
    }
  return hosts;
}

std::map<std::string, std::string> look_up(const std::vector<std::string>& hosts,
                                           Duration patience) {
  std::map<std::string, std::string> found;
  for (const std::string& host : hosts) {
    auto lookup = std::make_unique<Lookup>(host);
    gaicb* request = &lookup->request;
    if (int refused = ::getaddrinfo_a(GAI_NOWAIT, &request, 1, nullptr); refused != 0) {
      found[host] = ::gai_strerror(refused);
      continue;
    }
    const SteadyPoint until = std::chrono::steady_clock::now() + patience;
    while (::gai_error(request) == EAI_INPROGRESS) {
      const auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(
          until - std::chrono::steady_clock::now());
      if (left.count() <= 0) break;
      const timespec wait{left.count() / 1'000'000'000, left.count() % 1'000'000'000};
      ::gai_suspend(&request, 1, &wait);
    }
    found[host] = words_of(*lookup);
    // Why: its thread still writes to it. A few bytes, once for each host that does not resolve.
    if (::gai_error(request) == EAI_INPROGRESS && ::gai_cancel(request) == EAI_NOTCANCELED)
      static_cast<void>(lookup.release());
  }
  return found;
}

}  // namespace opscore
