#pragma once
// What the edge and the routes exchange: one request, and what is to be done about it. Plain data.

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "opscore/base/task_key.h"
#include "opscore/base/time.h"

namespace opscore {

struct Route;

// One HTTP request with the header fields that opscore looks at.
struct ApiRequest {
  std::string method;  // as sent, upper case for the known ones
  std::string path;    // the target up to '?', still percent-encoded
  std::string query;   // after '?', still percent-encoded
  std::string host, origin, authorization, content_type, accept;
  std::string content_encoding;
  std::optional<std::string> idempotency_key;
  std::string last_event_id;
  bool has_host = false;
  bool has_body = false;
  bool from_browser = false;  // it has a field that only browsers send
  bool same_site = true;      // as far as the browser says, in Sec-Fetch-Site
  std::string body;
  std::shared_ptr<void> held;    // counts the body against the server's limit while it exists
  const Route* route = nullptr;  // found once, when the request line is known
  SteadyPoint received_at{};
};

// An open file, closed with the last copy.
class BodyFile {
 public:
  // Throws Error{not_found} when it cannot be opened.
  explicit BodyFile(const std::string& path);
  ~BodyFile();
  BodyFile(const BodyFile&) = delete;
  int fd() const { return fd_; }
  int64_t bytes() const { return bytes_; }  // when it was opened

 private:
  int fd_;
  int64_t bytes_ = 0;
};

struct Response {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
  bool close = false;                              // the connection cannot be used any further
  std::shared_ptr<const BodyFile> file = nullptr;  // instead of `body`, read as it is sent
};

// Answer when the task is finished, or at `until` with whatever it is then. Holds no thread.
struct Wait {
  TaskKey key;
  SteadyPoint until;
  std::vector<std::string> warnings;  // of the submit that waits
  int unfinished_status = 202;        // of the answer when time was up
};

// Follow the task's events, from the one after `last_event`.
struct Stream {
  TaskKey key;
  int last_event = 0;
};

using Reply = std::variant<Response, Wait, Stream>;

// The connection whose request waits for its answer; each has one at a time. Never reused.
struct ExchangeId {
  uint64_t value = 0;
  bool operator==(const ExchangeId&) const = default;
};

struct Answer {
  ExchangeId to;
  Response response;
};

}  // namespace opscore

template <>
struct std::hash<opscore::ExchangeId> {
  size_t operator()(opscore::ExchangeId id) const noexcept { return id.value; }
};
