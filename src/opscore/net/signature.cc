#include "opscore/net/signature.h"

#include <fmt/format.h>

#include "opscore/base/hash.h"

namespace opscore {

HttpHeaders task_headers(const std::string& id, const std::string& type, int attempt) {
  return {{"Content-Type", "application/json"},
          {"X-Opscore-Task-Id", id},
          {"X-Opscore-Task-Type", type},
          {"X-Opscore-Attempt", std::to_string(attempt)}};
}

HttpHeaders signature_headers(std::string_view secret, std::string_view body, TimePoint now) {
  const std::string timestamp = std::to_string(to_ms(now) / 1000);
  HttpHeaders headers{{"X-Opscore-Timestamp", timestamp}};
  if (!secret.empty())
    headers.emplace_back(
        "X-Opscore-Signature",
        "v1=" + to_hex(hmac_sha256(secret, fmt::format("{}.{}", timestamp, body))));
  return headers;
}

}  // namespace opscore
