#pragma once
// One conversation turn with a language model. openai/ speaks to any OpenAI-compatible server,
// scripted/ replays a script; llm/conformance holds both to the same behaviour.

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "opscore/base/error.h"
#include "opscore/base/json.h"
#include "opscore/base/time.h"

namespace opscore {

struct LlmToolSpec {
  std::string name;
  std::string description;
  Json parameters;  // JSON Schema
};

struct LlmToolCall {
  std::string id;
  std::string name;
  std::string arguments;  // JSON text as the model wrote it; may be invalid
};

struct LlmMessage {
  enum class Role { system, user, assistant, tool } role = Role::user;
  std::string text;
  std::vector<LlmToolCall> tool_calls;  // assistant
  std::string tool_call_id;             // tool
  Json raw;  // assistant: the provider's own turn, sent back verbatim; null when there is none
};

struct LlmRequest {
  std::string model;
  std::vector<LlmMessage> messages;
  std::vector<LlmToolSpec> tools;
  std::optional<double> temperature;
  std::optional<int> max_tokens;
};

struct LlmUsage {
  int64_t input_tokens = 0;
  int64_t output_tokens = 0;
};

struct LlmResponse {
  LlmMessage message;         // role assistant
  std::string finish_reason;  // stop, length, tool_calls, content_filter, or the provider's word
  LlmUsage usage;
  std::string model;       // as the provider names it
  std::string request_id;  // the provider's, for support
};

// What complete() throws: an Error that may know when the provider wants to be asked again.
class LlmError : public Error {
 public:
  LlmError(Errc code, const std::string& message, bool retryable,
           std::optional<Duration> retry_after = {})
      : Error(code, message, retryable), retry_after_(retry_after) {}
  // The provider's own word (Retry-After), already counted from now.
  std::optional<Duration> retry_after() const { return retry_after_; }

 private:
  std::optional<Duration> retry_after_;
};

// Safe for concurrent use.
class LlmClient {
 public:
  virtual ~LlmClient() = default;
  // The name for results and logs: "openai", "scripted".
  virtual std::string provider() const = 0;
  // One turn. Throws LlmError with the provider's own words: unauthenticated, forbidden, not_found,
  // invalid (the provider refuses the request), queue_full (rate or money limit; retryable says
  // which), unavailable (connection, 5xx, a stream that ended early), timeout, cancelled, malformed
  // (an answer that is not one), too_large. Retries what is worth it, within the deadline.
  virtual LlmResponse complete(const LlmRequest& request, std::stop_token stop,
                               Deadline deadline) = 0;
};

}  // namespace opscore
