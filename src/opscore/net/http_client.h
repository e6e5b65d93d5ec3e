#pragma once
// Blocking HTTP client for every outgoing call: LLM providers, http actors, webhooks, the CLI's
// calls of the REST API. TLS is verified, redirects are answers unless the request follows some,
// HTTP(S)_PROXY and NO_PROXY are honoured except for loopback addresses, which are never proxied,
// and for guarded requests.

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "opscore/base/error.h"
#include "opscore/base/time.h"
#include "opscore/net/address_guard.h"
#include "opscore/net/url.h"

namespace opscore {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method = "GET";
  std::string url;      // http:// or https://
  HttpHeaders headers;  // a name or value with a line break is refused
  std::string body;     // sent when not empty, or when the method is POST, PUT or PATCH
  Duration connect_timeout = std::chrono::seconds(10);
  // No byte for this long, after the connection stands: timeout. 0: only the deadline counts.
  Duration idle_timeout{0};
  size_t body_bytes_max = 64 << 20;  // of the answer; more is Error{too_large}
  bool cut_body = false;             // more is cut off instead, and HttpResponse::cut is set
  int redirects_max = 0;             // followed; 0: a redirect is an answer
  // For a URL that somebody else chose: connects only to addresses that the guard permits, whatever
  // names resolve to, on every redirect, and never through a proxy, which would connect for us.
  // Must outlive the call.
  const AddressGuard* guard = nullptr;
  // When set, the body of a 2xx answer goes here piece by piece, as it arrives, instead of into
  // HttpResponse::body; false ends the call (successfully). Runs on the calling thread and may
  // throw. The bodies of other answers are collected as usual.
  std::function<bool(std::string_view)> on_body;
};

struct HttpResponse {
  int status = 0;
  HttpHeaders headers;  // names in lower case, in the order received
  std::string body;
  bool cut = false;  // the body was longer

  // The first header of that name (any case).
  std::optional<std::string> header(std::string_view name) const;
};

// Safe for concurrent use: each call has a connection of its own; idle ones are kept and reused.
// Nothing survives the object.
class HttpClient {
 public:
  HttpClient();
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;

  // Any HTTP status is an answer. Throws Error, naming method and URL (without credentials and
  // query): unavailable (no connection, cut off; not retryable for a bad certificate), timeout,
  // cancelled (stop was requested; noticed at once), too_large, invalid (not a URL that can be
  // called), malformed (the answer is not HTTP), forbidden (the guard does not permit the address).
  HttpResponse send(const HttpRequest& request, std::stop_token stop, Deadline deadline);

 private:
  struct Pool;
  std::unique_ptr<Pool> pool_;
};

}  // namespace opscore
