#pragma once
// Chat completions of OpenAI and of the many servers that speak the same protocol (OpenRouter,
// Ollama, vLLM, llama.cpp, gateways), with tolerance for their known deviations.

#include <memory>
#include <string>

#include "opscore/base/random.h"
#include "opscore/llm/llm_client.h"
#include "opscore/net/http_client.h"

namespace opscore {

struct OpenAiOptions {
  std::string provider = "openai";  // the name in results and messages
  std::string base_url = "https://api.openai.com/v1";
  std::string api_key;  // empty: no Authorization header
  std::string organization;
  std::string project;
  HttpHeaders headers;  // sent as well
  // Streaming notices a dead server early and bounds silence; a plain JSON answer is understood
  // either way.
  bool stream = true;
  // Within one complete(): further tries for 408, 409, 429, 5xx and broken connections.
  int retries = 2;
  Duration retry_base = std::chrono::milliseconds(500);  // doubles; up to 8 s
  // A provider that asks for a longer pause gets it from the caller: a row, not a waiting thread.
  Duration retry_wait_max = std::chrono::seconds(20);
  Duration idle_timeout = std::chrono::minutes(5);
  // "max_completion_tokens" is what OpenAI wants, "max_tokens" what the others know. Empty: by
  // base_url.
  std::string max_tokens_field;
};

// `http`, `clock` and `random` must outlive the client. Throws Error{invalid} for options that
// cannot work.
std::unique_ptr<LlmClient> make_openai_client(HttpClient& http, OpenAiOptions options,
                                              const Clock& clock, Random& random);

}  // namespace opscore
