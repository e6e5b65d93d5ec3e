#pragma once
// An actor that is a web server. The task's input is POSTed to its URL, the body of the answer is
// the result, its status says what comes next. See docs/howto/http-actor.md for its author's view.

#include <memory>
#include <optional>
#include <string>

#include "opscore/actor/actor.h"
#include "opscore/actor/output_result.h"
#include "opscore/model/limits.h"
#include "opscore/net/http_client.h"

namespace opscore {

struct HttpActorOptions {
  std::string url;
  HttpHeaders headers;  // beside those that opscore sends; values may be secrets
  std::string secret;   // signs each request; empty: none is signed
  // Of the answer; nothing: JSON when its Content-Type says so, else text.
  std::optional<OutputFormat> output;
  size_t result_bytes_max = limits::kPayloadBytes;  // of the answer, and of the result
};

// `http` must outlive it. A cancel and the attempt's deadline break the transfer off. Throws
// Error{invalid} when the URL is none that can be called.
std::unique_ptr<Actor> make_http_actor(HttpClient& http, HttpActorOptions options);

}  // namespace opscore
