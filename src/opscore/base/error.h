#pragma once
// Failures. Expected outcomes are values in signatures; a bug is an OPSCORE_ASSERT; everything else
// throws Error and is caught at one of five boundaries: HTTP handler, gRPC handler, runner, named
// loop, main.

#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace opscore {

// Closed. When adding one, the table in error.cc must grow too (a test walks all values).
enum class Errc {
  malformed,           // not JSON, not UTF-8, not the format
  unauthenticated,     // no or a wrong token
  forbidden,           // known, but not allowed
  not_found,           // no such task, queue, route
  method_not_allowed,  // the route exists, the verb does not
  conflict,            // the state forbids it, or a key is taken by another request
  handed_over,         // somebody outside runs the task
  too_large,           // over a size limit
  invalid,             // well-formed, but a field is wrong
  queue_full,          // a limit of the queue; try later
  cancelled,           // the caller gave up
  timeout,             // a deadline passed
  unavailable,         // a service we need does not answer
  overloaded,          // we are too busy; try later
  disk_low,            // not enough space left to accept work
  corrupt,             // stored bytes are not what they must be
  internal,            // a bug that was survived
};
inline constexpr int kErrcCount = static_cast<int>(Errc::internal) + 1;

enum class LogLevel { trace, debug, info, warn, error, off };

// One row of the table that every edge maps from.
struct ErrcInfo {
  std::string_view slug;   // stable word, used in problem+json `type` and in --json output
  std::string_view title;  // human words
  int http_status;
  int grpc_code;
  bool retryable;
  LogLevel level;
};
const ErrcInfo& info(Errc code);
std::optional<Errc> errc_from_slug(std::string_view slug);

class Error : public std::runtime_error {
 public:
  Error(Errc code, const std::string& message) : std::runtime_error(message), code_(code) {}
  Error(Errc code, const std::string& message, bool retryable)
      : std::runtime_error(message), code_(code), retryable_(retryable) {}

  Errc code() const { return code_; }
  bool retryable() const { return retryable_.value_or(info(code_).retryable); }
  std::string message() const { return what(); }

  // The field of a request that is wrong, as a path ("tasks[3].priority"); empty when none.
  const std::string& field() const { return field_; }
  Error& at(std::string field) {
    field_ = std::move(field);
    return *this;
  }
  // Adds the verb on the way up: "claim on queue 'mail': connection refused".
  Error with_context(std::string_view what_was_attempted) const;

 private:
  Errc code_;
  std::optional<bool> retryable_;
  std::string field_;
};

// A broken invariant: prints and aborts, in release too. Never on user input.
[[noreturn]] void assertion_failed(const char* condition, const char* message, const char* file,
                                   int line);
#define OPSCORE_ASSERT(condition, message) \
  ((condition) ? (void)0 : ::opscore::assertion_failed(#condition, message, __FILE__, __LINE__))

}  // namespace opscore
