#include "opscore/broker/resolve.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>

#include <array>
#include <cstring>
#include <memory>

namespace opscore {
namespace {

// What the system's lookup reads and writes until it has ended.
struct Lookup {
  explicit Lookup(const std::string& name) : host(name) {
    hints.ai_socktype = SOCK_STREAM;
    request.ar_name = host.c_str();
    request.ar_request = &hints;
  }
  ~Lookup() {
    if (request.ar_result) ::freeaddrinfo(request.ar_result);
  }
  Lookup(const Lookup&) = delete;

  std::string host;
  addrinfo hints{};
  gaicb request{};
};

std::unexpected<Error> cannot(const std::string& host, std::string_view why) {
  return std::unexpected(
      Error(Errc::unavailable, fmt::format("cannot find the host '{}': {}", host, why)));
}

bool is_address(const std::string& host) {
  in6_addr room{};
  return ::inet_pton(AF_INET, host.c_str(), &room) == 1 ||
         ::inet_pton(AF_INET6, host.c_str(), &room) == 1;
}

}  // namespace

std::expected<std::vector<std::string>, Error> resolve(const std::string& host, Deadline deadline) {
  // A lookup has a thread of its own, which ThreadSanitizer cannot live with.
  if (is_address(host)) return std::vector{host};
  auto lookup = std::make_unique<Lookup>(host);
  gaicb* requests[] = {&lookup->request};
  if (int error = ::getaddrinfo_a(GAI_NOWAIT, requests, 1, nullptr); error != 0)
    return cannot(host, ::gai_strerror(error));
  int status = EAI_INPROGRESS;
  while ((status = ::gai_error(requests[0])) == EAI_INPROGRESS) {
    auto left = deadline.left();
    if (left <= Duration(0)) break;
    timespec limit{left.count() / 1000, (left.count() % 1000) * 1'000'000};
    ::gai_suspend(requests, 1, &limit);
  }
  if (status == EAI_INPROGRESS) {
    // Why: a lookup that has begun cannot be cancelled, and goes on writing into its request.
    if (::gai_cancel(requests[0]) == EAI_NOTCANCELED) (void)lookup.release();
    return cannot(host, "the name service does not answer in time");
  }
  if (status != 0) return cannot(host, ::gai_strerror(status));
  std::vector<std::string> addresses;
  for (addrinfo* at = lookup->request.ar_result; at; at = at->ai_next) {
    std::array<char, NI_MAXHOST> text{};
    if (::getnameinfo(at->ai_addr, at->ai_addrlen, text.data(), text.size(), nullptr, 0,
                      NI_NUMERICHOST) == 0)
      addresses.emplace_back(text.data());
  }
  if (addresses.empty()) return cannot(host, "it has no address");
  return addresses;
}

}  // namespace opscore
