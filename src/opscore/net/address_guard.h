#pragma once
// Where URLs that come from a request or from a model may lead: to public addresses, and to those
// that the operator has opened. Asked for the literal address of a URL when it is accepted, and by
// HttpClient for every address that it is about to connect to, so that neither a name that resolves
// to 127.0.0.1, nor one that resolves differently the second time, nor a redirect gets around it.
//
// Constant after construction: safe for concurrent use.

#include <optional>
#include <string>
#include <vector>

#include "opscore/net/ip_address.h"

namespace opscore {

class AddressGuard {
 public:
  // `allowed` is opened although it is not public.
  explicit AddressGuard(std::vector<IpRange> allowed = {}) : allowed_(std::move(allowed)) {}

  // Nothing when it may be connected to, else why not: "127.0.0.1 is a loopback address...".
  std::optional<std::string> problem(const IpAddress& address) const;

  // The same for a URL, as far as its text says: http or https, no user or password, and no host
  // that is a refused address. A name is looked up only when it is called.
  std::optional<std::string> url_problem(const std::string& url) const;

 private:
  std::vector<IpRange> allowed_;
};

}  // namespace opscore
