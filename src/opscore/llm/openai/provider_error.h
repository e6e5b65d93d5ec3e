#pragma once
// Errors as providers word them, mapped to ours. Pure.
//
//   body = {"error": {"message", "type", "param", "code"}}      OpenAI, OpenRouter, vLLM, llama.cpp
//        | {"error": "text"}                                    Ollama
//        | {"message": "text"} | {"detail": ...}                gateways, FastAPI
//        | [{"error": {...}}]                                   Gemini's façade
//        | anything else                                        proxies: shown, shortened

#include <string>
#include <string_view>

#include "opscore/llm/llm_client.h"
#include "opscore/net/http_client.h"

namespace opscore {

// An answer whose status is not 2xx. `provider` starts the message.
LlmError error_from_response(const std::string& provider, const HttpResponse& response,
                             TimePoint now);

// The "error" member of an answer whose status was 200.
LlmError error_from_member(const std::string& provider, const Json& error,
                           const std::string& request_id);

// The error member of a body or of a stream's chunk; null when there is none.
Json error_member(const Json& body);

// `retry-after-ms`, else `retry-after` in seconds or as an HTTP date; nothing unless positive.
std::optional<Duration> retry_after_of(const HttpResponse& response, TimePoint now);

std::string request_id_of(const HttpResponse& response);

}  // namespace opscore
