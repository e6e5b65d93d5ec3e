#pragma once
// What one answer of a server means for its task: pure functions.

#include "opscore/actor/http/http_actor.h"

namespace opscore {

// 2xx completes; 429 and 503 with Retry-After snooze; 429 and 5xx are tried again; anything else is
// not worth it.
Outcome decide_http(const HttpActorOptions& options, const HttpResponse& response, TimePoint now);

// There was no answer. A transfer that was broken off for the end of the attempt has timed out.
Outcome decide_http_failure(const Error& error, bool deadline_passed);

}  // namespace opscore
