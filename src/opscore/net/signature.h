#pragma once
// How opscore signs what it sends, so that a receiver knows who sent it and when:
//
//   X-Opscore-Timestamp: 1763632800                                (Unix time in seconds)
//   X-Opscore-Signature: v1=<hex of HMAC-SHA256(secret, timestamp + "." + body)>
//
// Pure. docs/howto/verify-signature.md has the receiver's side.

#include <string>
#include <string_view>

#include "opscore/base/time.h"
#include "opscore/net/http_client.h"

namespace opscore {

// What a call is about, as headers: X-Opscore-Task-Id, X-Opscore-Task-Type, X-Opscore-Attempt, and
// the Content-Type of JSON.
HttpHeaders task_headers(const std::string& id, const std::string& type, int attempt);

// The timestamp always; the signature when there is a secret.
HttpHeaders signature_headers(std::string_view secret, std::string_view body, TimePoint now);

}  // namespace opscore
