#include "opscore/app/rabbitmq_management.h"

#include <fmt/format.h>

#include "opscore/base/json.h"

namespace opscore {
namespace {

constexpr Duration kAnswerIn{3000};

std::string percent_encoded(const std::string& text) {
  std::string out;
  for (unsigned char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '_' || c == '.';
    out += plain ? std::string(1, static_cast<char>(c)) : fmt::format("%{:02X}", c);
  }
  return out;
}

std::optional<uint64_t> ask(HttpClient& http, const std::string& url) {
  HttpRequest request;
  request.url = url;
  const HttpResponse response = http.send(request, {}, Deadline::after(kAnswerIn));
  if (response.status == 404) return 0;
  const Json queue = Json::parse(response.body, nullptr, false);
  const bool fine = response.status == 200 && queue.is_object();
  // A queue that was made a moment ago has no statistics yet.
  if (fine && !queue.contains("messages_unacknowledged")) return std::nullopt;
  if (!fine || !queue["messages_unacknowledged"].is_number_unsigned())
    throw Error(Errc::unavailable,
                fmt::format("ask RabbitMQ's management at {}: it answered {}; see "
                            "broker.management_url",
                            printable_url(url), response.status));
  return queue["messages_unacknowledged"].get<uint64_t>();
}

}  // namespace

std::function<std::optional<uint64_t>(const std::string& queue)> make_unanswered_counter(
    HttpClient& http, const std::string& management_url, const std::string& vhost) {
  if (management_url.empty()) return [](const std::string&) { return std::nullopt; };
  std::string base = management_url;
  while (base.ends_with('/')) base.pop_back();
  return [&http, base, vhost = percent_encoded(vhost)](const std::string& queue) {
    return ask(http, fmt::format("{}/api/queues/{}/{}", base, vhost, percent_encoded(queue)));
  };
}

}  // namespace opscore
