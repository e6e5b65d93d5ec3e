#pragma once
// How a webhook is called: the task's JSON, as the API shows it, posted with a signature.

#include "opscore/engine/service.h"
#include "opscore/net/http_client.h"
#include "opscore/worker/relay.h"

namespace opscore {

struct WebhookCallerOptions {
  std::string secret;  // of webhooks without one of their own
  Duration timeout = std::chrono::seconds(10);
};

// The references must outlive what it answers. 2xx is delivered; 410 and an address that the guard
// does not permit are refused; redirects are not followed, so that a signed body goes nowhere else.
std::function<WebhookAnswer(const WebhookCall&, std::stop_token)> make_webhook_caller(
    HttpClient& http, const AddressGuard& guard, Service& service, WebhookCallerOptions options);

}  // namespace opscore
