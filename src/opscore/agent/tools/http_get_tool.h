#pragma once
// Reading the web: what an agent's model may fetch, and how much of it.

#include <memory>

#include "opscore/agent/tool.h"
#include "opscore/net/http_client.h"

namespace opscore {

struct HttpGetLimits {
  size_t bytes = 64 << 10;  // of the answer; the rest is cut off, visibly
  Duration timeout = std::chrono::seconds(20);
  int redirects = 5;
};

// {"url": "https://example.com/"} -> the text of the answer. Only for tasks that name the tool, and
// only to addresses that `guard` permits, on every redirect. Both must outlive the tool.
std::shared_ptr<const Tool> make_http_get(HttpClient& http, const AddressGuard& guard,
                                          HttpGetLimits limits = {});

}  // namespace opscore
