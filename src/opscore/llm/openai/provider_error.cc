#include "opscore/llm/openai/provider_error.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "opscore/net/retry_after.h"

namespace opscore {
namespace {

constexpr size_t kBodyShown = 300;
constexpr double kRetryAfterMsMax = 7.0 * 24 * 3600 * 1000;

// Codes and types that mean "no money" or "no quota": asking again changes nothing.
constexpr std::array<std::string_view, 9> kMoneyCodes{"insufficient_quota",
                                                      "credit_balance_exhausted",
                                                      "organization_spend_limit_exceeded",
                                                      "project_spend_limit_exceeded",
                                                      "organization_usage_limit_exceeded",
                                                      "billing_hard_limit_reached",
                                                      "billing_not_active",
                                                      "billing_error",
                                                      "enforced_spend_limit_reached"};

// What a provider said, in one form.
struct Said {
  std::string message;
  std::string type;
  std::string code;
  int status = 0;  // an HTTP status named inside the error
  bool about_money = false;
};

std::string shortened(std::string_view text, size_t bytes) {
  std::string out;
  for (char c : text.substr(0, bytes)) out += c == '\n' || c == '\r' || c == '\t' ? ' ' : c;
  return to_valid_utf8(out) + (text.size() > bytes ? "..." : "");
}

std::string word_of(const Json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end() || found->is_null()) return {};
  if (found->is_string()) return found->get<std::string>();
  return found->dump(-1, ' ', false, Json::error_handler_t::replace);
}

bool is_money(std::string_view word) {
  return std::find(kMoneyCodes.begin(), kMoneyCodes.end(), word) != kMoneyCodes.end();
}

Said said_by(const Json& error) {
  Said said;
  if (error.is_string()) {
    said.message = error.get<std::string>();
  } else if (error.is_object()) {
    said.message = word_of(error, "message");
    said.type = word_of(error, "type");
    said.code = word_of(error, "code");
    const auto details = error.find("details");
    if (details != error.end() && details->is_object())
      said.about_money = is_money(word_of(*details, "error_code"));
    if (said.message.empty())
      said.message =
          shortened(error.dump(-1, ' ', false, Json::error_handler_t::replace), kBodyShown);
  }
  int status = 0;
  const auto [end, problem] =
      std::from_chars(said.code.data(), said.code.data() + said.code.size(), status);
  if (problem == std::errc() && end == said.code.data() + said.code.size() && status >= 400 &&
      status <= 599) {
    said.status = status;
    said.code.clear();
  }
  said.about_money |= is_money(said.code) || is_money(said.type) || said.status == 402;
  return said;
}

// The words that stand for a status where there is none.
int status_of_words(const Said& said) {
  const auto has = [&](std::string_view word) {
    return said.code.find(word) != std::string::npos || said.type.find(word) != std::string::npos;
  };
  if (said.about_money || has("rate_limit") || has("slow_down")) return 429;
  if (has("auth") || has("invalid_api_key")) return 401;
  if (has("permission")) return 403;
  if (has("not_found")) return 404;
  if (has("invalid_request") || has("context_length")) return 400;
  if (has("timeout")) return 408;
  return 503;  // server_error, overloaded, or a word of its own: the generation broke off
}

struct Verdict {
  Errc code;
  bool retryable;
};

Verdict verdict_of(int status, bool about_money) {
  if (about_money || status == 402) return {Errc::queue_full, false};
  switch (status) {
    case 401:
      return {Errc::unauthenticated, false};
    case 403:
      return {Errc::forbidden, false};
    case 404:
      return {Errc::not_found, false};
    case 408:
      return {Errc::timeout, true};
    case 409:
      return {Errc::unavailable, true};
    case 429:
      return {Errc::queue_full, true};
    default:
      break;
  }
  if (status >= 500) return {Errc::unavailable, true};
  return {Errc::invalid, false};
}

std::string worded(const std::string& provider, int http_status, const Said& said,
                   const std::string& request_id) {
  std::string out = provider + ":";
  if (http_status != 0) out += fmt::format(" HTTP {}", http_status);
  if (!said.code.empty())
    out += " " + said.code;
  else if (!said.type.empty())
    out += " " + said.type;
  out += (out.back() == ':' ? " " : ": ") + said.message;
  if (!request_id.empty()) out += fmt::format(" (request {})", request_id);
  return to_valid_utf8(out);
}

}  // namespace

std::string request_id_of(const HttpResponse& response) {
  for (const char* name : {"x-request-id", "request-id", "x-generation-id"})
    if (auto id = response.header(name)) return to_valid_utf8(*id);
  return {};
}

std::optional<Duration> retry_after_of(const HttpResponse& response, TimePoint now) {
  if (const auto text = response.header("retry-after-ms")) {
    double ms = 0;
    std::from_chars(text->data(), text->data() + text->size(), ms);
    if (ms > 0) return Duration(static_cast<int64_t>(std::ceil(std::min(ms, kRetryAfterMsMax))));
  }
  const auto text = response.header("retry-after");
  const auto wait = text ? parse_retry_after(*text, now) : std::nullopt;
  return wait && *wait > Duration(0) ? wait : std::nullopt;
}

Json error_member(const Json& body) {
  if (body.is_array() && !body.empty()) return error_member(body.front());
  if (!body.is_object()) return nullptr;
  const auto error = body.find("error");
  if (error != body.end() && (error->is_string() || error->is_object()) && !error->empty())
    return *error;
  return nullptr;
}

LlmError error_from_response(const std::string& provider, const HttpResponse& response,
                             TimePoint now) {
  const Json body = Json::parse(response.body, nullptr, false);
  Said said;
  if (const Json error = error_member(body); !error.is_null()) {
    said = said_by(error);
  } else if (body.is_object() && (body.contains("message") || body.contains("detail"))) {
    said = said_by(body);
    if (!body.contains("message")) said.message = shortened(word_of(body, "detail"), kBodyShown);
  } else {
    said.message = response.body.empty() ? "(no body)" : shortened(response.body, kBodyShown);
  }
  if (response.status >= 300 && response.status < 400)
    said.message = fmt::format("redirects to {}: set the base URL to where it leads",
                               printable_url(response.header("location").value_or("?")));
  Verdict verdict = verdict_of(response.status, said.about_money);
  if (const auto should = response.header("x-should-retry"); should && !said.about_money) {
    if (*should == "true") verdict.retryable = true;
    if (*should == "false") verdict.retryable = false;
  }
  return LlmError(verdict.code, worded(provider, response.status, said, request_id_of(response)),
                  verdict.retryable,
                  verdict.retryable ? retry_after_of(response, now) : std::nullopt);
}

LlmError error_from_member(const std::string& provider, const Json& error,
                           const std::string& request_id) {
  const Said said = said_by(error);
  const int status = said.status != 0 ? said.status : status_of_words(said);
  const Verdict verdict = verdict_of(status, said.about_money);
  return LlmError(verdict.code, worded(provider, said.status, said, request_id), verdict.retryable);
}

}  // namespace opscore
