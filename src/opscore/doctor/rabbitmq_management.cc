#include "opscore/doctor/rabbitmq_management.h"

#include <fmt/format.h>

#include <map>

namespace opscore {
namespace {

std::string encoded(const std::string& text) {
  std::string out;
  for (unsigned char c : text)
    out += std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.' ? std::string(1, char(c))
                                                                    : fmt::format("%{:02X}", c);
  return out;
}

std::string text(const Json& object, const char* name) {
  auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

template <class T>
T number(const Json& object, const char* name) {
  auto found = object.find(name);
  return found != object.end() && found->is_number_integer() ? found->get<T>() : T{};
}

Json part(const Json& object, const char* name) {
  auto found = object.find(name);
  return found != object.end() && found->is_object() ? *found : Json::object();
}

class Asker {
 public:
  Asker(HttpClient& http, std::string url, Deadline deadline)
      : http_(http), url_(std::move(url)), deadline_(deadline) {
    while (url_.ends_with('/')) url_.pop_back();
  }

  // Nothing when that is not for this user to know, unless it is `required`.
  std::optional<Json> get(const std::string& path, bool required = true) const {
    HttpRequest request;
    request.url = url_ + "/api/" + path;
    request.connect_timeout = Duration(1000);
    const HttpResponse response = http_.send(request, {}, deadline_);
    if (response.status == 200) {
      Json answer = Json::parse(response.body, nullptr, false);
      if (!answer.is_discarded()) return answer;
    }
    if (!required) return std::nullopt;
    const bool refused = response.status == 401 || response.status == 403;
    throw Error(
        refused ? Errc::forbidden : Errc::malformed,
        fmt::format("ask RabbitMQ's management at {}: it answered {}{}", printable_url(request.url),
                    response.status, refused ? "; the user needs the tag 'monitoring'" : ""));
  }

 private:
  HttpClient& http_;
  std::string url_;
  const Deadline deadline_;
};

BrokerFacts::Queue queue_from(const Json& json) {
  BrokerFacts::Queue queue;
  queue.name = text(json, "name");
  queue.type = text(json, "type");
  queue.durable = json.value("durable", false);
  queue.ready = number<uint64_t>(json, "messages_ready");
  queue.unacked = number<uint64_t>(json, "messages_unacknowledged");
  queue.consumers = number<uint64_t>(json, "consumers");
  queue.arguments_known = true;
  const Json arguments = part(json, "arguments");
  for (const auto& [name, value] : arguments.items())
    queue.arguments[name] = value.is_string() ? value.get<std::string>() : value.dump();
  return queue;
}

// "2026-11-30 21:03:04" or RFC 3339, by the clock of RabbitMQ's machine, in UTC.
std::optional<TimePoint> time_from(std::string words) {
  if (words.size() == 19 && words[10] == ' ')
    words = words.substr(0, 10) + "T" + words.substr(11) + "Z";
  auto at = parse_rfc3339(words);
  return at ? std::optional(*at) : std::nullopt;
}

ManagedConsumer consumer_from(const Json& json, const std::map<std::string, Json>& channels,
                              const std::map<std::string, Json>& connections) {
  ManagedConsumer managed;
  BrokerFacts::Consumer& consumer = managed.consumer;
  const Json where = part(json, "channel_details");
  consumer.queue = text(part(json, "queue"), "name");
  consumer.user = text(where, "user");
  managed.peer_host = text(where, "peer_host");
  managed.peer_port = number<uint16_t>(where, "peer_port");
  consumer.peer = fmt::format("{}:{}", managed.peer_host, managed.peer_port);
  if (auto channel = channels.find(text(where, "name")); channel != channels.end()) {
    consumer.unacked = number<uint64_t>(channel->second, "messages_unacknowledged");
    consumer.idle_since = time_from(text(channel->second, "idle_since"));
  }
  auto connection = connections.find(text(where, "connection_name"));
  if (connection == connections.end()) return managed;
  managed.port = number<uint16_t>(connection->second, "port");
  const Json properties = part(connection->second, "client_properties");
  consumer.name = text(properties, "connection_name");
  consumer.product = text(properties, "product");
  if (!consumer.is_opscore()) return managed;
  consumer.store = text(properties, "store");
  managed.process = text(properties, "process");
  return managed;
}

std::map<std::string, Json> by_name(const Json& list) {
  std::map<std::string, Json> named;
  if (list.is_array())
    for (const Json& each : list)
      if (each.is_object()) named.emplace(text(each, "name"), each);
  return named;
}

}  // namespace

Managed ask_management(HttpClient& http, const std::string& url, const std::string& vhost,
                       const std::string& user, Deadline deadline) {
  const Asker asker(http, url, deadline);
  const std::string host = encoded(vhost);
  Managed managed;
  const Json queues = *asker.get("queues/" + host);
  for (const auto& [name, queue] : by_name(queues)) managed.queues.push_back(queue_from(queue));
  const auto connections = by_name(*asker.get(fmt::format("vhosts/{}/connections", host)));
  const auto channels = by_name(*asker.get(fmt::format("vhosts/{}/channels", host)));
  const Json consumers = *asker.get("consumers/" + host);
  if (consumers.is_array())
    for (const Json& consumer : consumers)
      if (consumer.is_object())
        managed.consumers.push_back(consumer_from(consumer, channels, connections));
  // Only an administrator may ask for them.
  const auto rights =
      asker.get(fmt::format("permissions/{}/{}", host, encoded(user)), /*required=*/false);
  if (rights && rights->is_object())
    managed.permissions = {user, text(*rights, "configure"), text(*rights, "write"),
                           text(*rights, "read")};
  return managed;
}

}  // namespace opscore
