#pragma once
// The REST API as the commands see it: over HTTP, or, when no server runs, answered by this process
// from the data file. Not thread-safe.

#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>

#include "opscore/app/config.h"
#include "opscore/base/json.h"
#include "opscore/base/time.h"

namespace opscore {

struct ApiAnswer {
  int status = 0;
  std::string body;
  bool ok() const { return status >= 200 && status < 300; }
};

class ApiClient {
 public:
  virtual ~ApiClient() = default;
  // `path` starts with /, without /api/v1. Any answer of a server is an answer; throws
  // Error{unavailable} when none comes, saying how to start one.
  virtual ApiAnswer call(const std::string& method, const std::string& path,
                         const std::string& body) = 0;

  // Gets a body of any size, piece by piece, into `take`; an answer without it when it is refused.
  // Throws as call() does, and what `take` throws.
  virtual ApiAnswer download(const std::string& path,
                             const std::function<void(std::string_view)>& take) = 0;

  ApiAnswer get(const std::string& path) { return call("GET", path, ""); }
  ApiAnswer post(const std::string& path, const std::string& body = "") {
    return call("POST", path, body);
  }
};

// Calls end at once when `stop` is requested, and after `patience`, as Error{cancelled, timeout}.
// The default is longer than the longest wait of one call (see follow_task).
std::unique_ptr<ApiClient> make_http_api_client(const Config& config, std::stop_token stop = {},
                                                Duration patience = std::chrono::seconds(120));

// Reads only. Throws Error{not_found} when there is no data file, and as open_sqlite_store() does.
std::unique_ptr<ApiClient> make_offline_api_client(const Config& config);

// Percent-encodes what may not stand in a path segment or query value.
std::string percent_encode(std::string_view text);

// The text of the member `name` of a JSON object, as it stands there; empty when there is none.
std::string_view raw_member(std::string_view object, std::string_view name);

// A refusal in words: the detail of a problem document, or the status and what was answered.
std::string refusal_words(const ApiAnswer& answer);

}  // namespace opscore
