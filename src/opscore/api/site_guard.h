#pragma once
// Keeps web pages out while there is no API token. A browser on this machine reaches the API, too,
// and any page in it can make it send requests: under a name of the page's own that resolves to
// this machine (DNS rebinding: Host), from another site (Origin, Sec-Fetch-Site), or with a body of
// a type that needs no permission of ours. Only looks at the head. Safe for concurrent use.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "opscore/api/refusals.h"
#include "opscore/api/request.h"

namespace opscore {

struct SiteGuardOptions {
  std::vector<std::string>
      hosts;  // names by which clients may call the server beside loopback ones
  // The server listens beyond loopback: every IP address will do as Host. No page can have that
  // resolve to something else.
  bool any_address = false;
};

class SiteGuard {
 public:
  explicit SiteGuard(SiteGuardOptions options);

  struct Refused {
    Refusal reason;
    Response response;
  };
  std::optional<Refused> check(const ApiRequest& request) const;

 private:
  bool is_known_host(std::string_view host) const;
  const SiteGuardOptions options_;
};

bool is_loopback_host(std::string_view host);  // without a port: localhost, 127.0.0.1, ::1, ...

}  // namespace opscore
