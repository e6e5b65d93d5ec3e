#include "opscore/app/webhook_caller.h"

#include <fmt/format.h>

#include "opscore/api/views.h"
#include "opscore/net/retry_after.h"
#include "opscore/net/signature.h"

namespace opscore {
namespace {

using Kind = WebhookAnswer::Kind;

constexpr size_t kAnswerBytes = 64 << 10;  // nobody reads it

std::string body_of(const WebhookCall& call, Service& service) {
  std::string body;
  append_task(body, {call.task, call.task_id, service.worker_name(call.task.worker), {}});
  return body;
}

WebhookAnswer judge(const HttpResponse& response, TimePoint now) {
  WebhookAnswer answer;
  answer.words = fmt::format("answered {}", response.status);
  if (response.status >= 200 && response.status < 300) answer.kind = Kind::delivered;
  if (response.status == 410) answer.kind = Kind::refused;
  if (response.status >= 300 && response.status < 400)
    answer.words += "; redirects are not followed";
  if (const auto header = response.header("retry-after"))
    answer.retry_after = parse_retry_after(*header, now);
  return answer;
}

}  // namespace

std::function<WebhookAnswer(const WebhookCall&, std::stop_token)> make_webhook_caller(
    HttpClient& http, const AddressGuard& guard, Service& service, WebhookCallerOptions options) {
  return [&http, &guard, &service, options = std::move(options)](const WebhookCall& call,
                                                                 std::stop_token stop) {
    const Webhook& webhook = *call.task.options.webhook;
    HttpRequest request;
    request.method = "POST";
    request.url = webhook.url;
    request.body = body_of(call, service);
    request.body_bytes_max = kAnswerBytes;
    request.cut_body = true;
    request.guard = &guard;
    request.headers = task_headers(call.task_id, call.task.type, call.task.live.attempt);
    request.headers.emplace_back("X-Opscore-Delivery-Id", call.delivery_id);
    const std::string& secret = webhook.secret.empty() ? options.secret : webhook.secret;
    const TimePoint now = service.clock().now();
    const auto signature = signature_headers(secret, request.body, now);
    for (const HttpHeaders* more : {&signature, &webhook.headers})
      request.headers.insert(request.headers.end(), more->begin(), more->end());
    try {
      return judge(http.send(request, std::move(stop), Deadline::after(options.timeout)), now);
    } catch (const Error& error) {
      const bool for_good = error.code() == Errc::forbidden || error.code() == Errc::invalid;
      return WebhookAnswer{for_good ? Kind::refused : Kind::failed, error.message(), {}};
    }
  };
}

}  // namespace opscore
