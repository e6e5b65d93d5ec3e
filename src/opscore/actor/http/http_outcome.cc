#include "opscore/actor/http/http_outcome.h"

#include <fmt/format.h>

#include <algorithm>

#include "opscore/base/json.h"
#include "opscore/model/error_kind.h"
#include "opscore/net/retry_after.h"

namespace opscore {
namespace {

constexpr size_t kDetailBytes = 8 << 10;  // of an error page
constexpr Duration kSnoozeMin = std::chrono::seconds(1);

bool is_json(const HttpResponse& response) {
  std::string type = response.header("content-type").value_or("");
  type = type.substr(0, type.find_first_of("; "));
  std::transform(type.begin(), type.end(), type.begin(), ::tolower);
  return type == "application/json" || type.ends_with("+json");
}

Outcome result_of(const HttpActorOptions& options, const HttpResponse& response) {
  if (response.cut) return too_large("the answer", options.result_bytes_max, {});
  const OutputFormat format =
      options.output.value_or(is_json(response) ? OutputFormat::json : OutputFormat::text);
  const bool has_content = response.status != 204 && response.status != 205;
  if (!has_content && format == OutputFormat::json) return Outcome::complete("null");
  return output_result("the answer", response.body, format, options.result_bytes_max, {});
}

}  // namespace

Outcome decide_http(const HttpActorOptions& options, const HttpResponse& response, TimePoint now) {
  const int status = response.status;
  if (status >= 200 && status < 300) return result_of(options, response);
  ErrorInfo error{error_kind::kActorError,
                  fmt::format("POST {}: answered {}", printable_url(options.url), status),
                  to_valid_utf8(std::string_view(response.body).substr(0, kDetailBytes))};
  if (status == 429 || status == 503) {
    const auto header = response.header("retry-after");
    if (const auto wait = header ? parse_retry_after(*header, now) : std::nullopt) {
      Outcome outcome = Outcome::snooze(std::max(*wait, kSnoozeMin), error.message);
      outcome.error.detail = error.detail;
      return outcome;
    }
  }
  if (status >= 300 && status < 400)
    error.message += fmt::format(", a redirect to {}; set the actor's url to where it leads",
                                 printable_url(response.header("location").value_or("?")));
  return Outcome::fail(std::move(error), status == 429 || status >= 500);
}

Outcome decide_http_failure(const Error& error, bool deadline_passed) {
  if (error.code() == Errc::timeout && deadline_passed) {
    Outcome outcome = Outcome::fail({error_kind::kTimeout, error.message(), {}});
    outcome.kind = Outcome::Kind::timed_out;
    return outcome;
  }
  // What is not HTTP may be a proxy's or a restart's half word.
  return Outcome::fail({error_kind::kActorError, error.message(), {}},
                       error.retryable() || error.code() == Errc::malformed);
}

}  // namespace opscore
