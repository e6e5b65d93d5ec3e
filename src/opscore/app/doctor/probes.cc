#include "opscore/app/doctor/probes.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <tuple>

#include "opscore/app/cli/api_client.h"
#include "opscore/app/config_fields.h"
#include "opscore/app/installed_actors.h"
#include "opscore/broker/rabbitmq/amqp_url.h"
#include "opscore/broker/rabbitmq/rabbitmq_probe.h"
#include "opscore/doctor/rabbitmq_management.h"
#include "opscore/process/socket_owner.h"

namespace opscore {
namespace {

constexpr Duration kModelPatience{8'000};

std::set<std::string> known_variables() {
  std::set<std::string> names{"OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENROUTER_API_KEY",
                              "AGENTKIT_LLM_PROVIDER", "AGENTKIT_LLM_MODEL"};
  for (const auto& field : config_fields())
    names.insert(field.variables.begin(), field.variables.end());
  return names;
}

// TZ as the C library reads it: a name below its folder, a path, or a rule such as CET-1CEST.
bool is_known_zone(std::string zone) {
  if (zone.starts_with(':')) zone.erase(0, 1);
  std::error_code ignored;
  const std::filesystem::path folder = "/usr/share/zoneinfo";
  if (zone.empty() || !std::filesystem::exists(folder, ignored)) return true;
  const bool is_rule =
      std::any_of(zone.begin(), zone.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
  return is_rule || std::filesystem::exists(folder / zone, ignored);
}

// Of opscore's own the connection tells the process; of others /proc does, when they are here.
BrokerFacts::Consumer identified(const ManagedConsumer& managed) {
  BrokerFacts::Consumer consumer = managed.consumer;
  if (!managed.process.empty()) consumer.peer += fmt::format(" ({})", managed.process);
  auto owner = owner_of_socket(managed.peer_port, managed.port);
  if (owner) {
    consumer.pid = owner->pid;
    consumer.program = to_valid_utf8(owner->program);
  }
  return consumer;
}

void ask_management_api(const Config& config, HttpClient& http, const AmqpUrl& url,
                        BrokerFacts& facts) {
  if (config.broker.management_url.empty()) return;
  facts.management = printable_url(config.broker.management_url);
  try {
    Managed managed = ask_management(http, config.broker.management_url, url.vhost, url.user,
                                     Deadline::after(kProbePatience));
    facts.permissions = managed.permissions;
    for (const ManagedConsumer& consumer : managed.consumers)
      facts.consumers.push_back(identified(consumer));
    // What RabbitMQ itself has just counted is newer.
    for (BrokerFacts::Queue& queue : managed.queues)
      for (const BrokerFacts::Queue& asked : facts.queues)
        if (asked.name == queue.name)
          std::tie(queue.ready, queue.consumers) = std::tie(asked.ready, asked.consumers);
    facts.queues = std::move(managed.queues);
  } catch (const Error& error) {
    facts.management_problem = error.what();
  }
}

// Of another application nothing is our business.
void keep_used(const std::vector<std::string>& names, BrokerFacts& facts) {
  const std::set<std::string> used(names.begin(), names.end());
  const auto other = [&](const std::string& queue) {
    return !queue.starts_with("opscore.") && !used.contains(queue);
  };
  std::erase_if(facts.queues, [&](const auto& queue) { return other(queue.name); });
  std::erase_if(facts.consumers, [&](const auto& consumer) { return other(consumer.queue); });
}

}  // namespace

HostFacts probe_host(const std::map<std::string, std::string>& environment) {
  HostFacts facts;
  facts.environment = environment;
  const std::set<std::string> variables = known_variables();
  facts.variables.assign(variables.begin(), variables.end());
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  facts.open_files = limit.rlim_max;  // a server raises its own as far as that
  if (auto zone = environment.find("TZ"); zone != environment.end())
    facts.time_zone_known = is_known_zone(zone->second);
  return facts;
}

std::string config_words(const Config& config) {
  std::vector<std::string> words;
  for (const Config::File& file : config.files)
    words.push_back(fmt::format("{} {}", file.path, file.read ? "read" : "not there"));
  for (const char* key : {"store.url", "store.path", "broker.url", "client.url", "server.port"})
    if (config.origin_of(key).source != Source::fallback)
      words.push_back(fmt::format("{} from {}", key, config.origin_of(key).words()));
  return fmt::format("{}", fmt::join(words, "; "));
}

ServerFacts probe_server(const Config& config) {
  ServerFacts facts;
  facts.url = config.server_url();
  try {
    auto api = make_http_api_client(config, {}, kProbePatience);
    const ApiAnswer ready = api->get("/ready");
    facts.answers = true;
    const Json state = Json::parse(ready.body, nullptr, false);
    if (!ready.ok() && state.is_object())
      for (const Json& reason : state.value("reasons", Json::array()))
        if (reason.is_string()) facts.reasons.push_back(reason.get<std::string>());
    const ApiAnswer answer = api->get("/workers");
    const Json workers = Json::parse(answer.body, nullptr, false);
    if (!answer.ok() || !workers.is_object()) return facts;
    facts.workers.emplace();
    for (const Json& worker : workers.value("workers", Json::array()))
      if (worker.contains("name") && worker["name"].is_string())
        facts.workers->push_back(worker["name"].get<std::string>());
  } catch (const Error&) {
    facts.workers.reset();  // that none answers, or no more, is what there is to know
  }
  return facts;
}

BrokerFacts probe_broker(const Config& config, HttpClient& http,
                         const std::vector<std::string>& names) {
  BrokerFacts facts;
  facts.now = SystemClock().now();
  if (config.broker.url.empty()) return facts;
  const auto urls = parse_amqp_urls(config.broker.url);
  facts.where = urls->front().where();
  try {
    RabbitMqProbe probe = probe_rabbitmq(config.broker.url, names, kProbePatience);
    facts.where = probe.where;
    for (const ForeignQueue& queue : probe.queues) {
      BrokerFacts::Queue& counted = facts.queues.emplace_back();
      counted.name = queue.queue;
      counted.ready = queue.ready;
      counted.consumers = queue.consumers;
    }
  } catch (const Error& error) {
    facts.problem = error.what();
    return facts;
  }
  ask_management_api(config, http, urls->front(), facts);
  keep_used(names, facts);
  return facts;
}

ModelFacts probe_models(const Config& config, HttpClient& http, bool online) {
  ModelFacts facts;
  SystemClock clock;
  SystemRandom random;
  try {
    Providers providers = configured_providers(config, http, clock, random);
    for (const auto& [name, why] : providers.unusable)
      facts.providers.push_back({name, name == providers.default_provider, why, {}});
    for (const auto& [name, provider] : providers.usable) {
      auto& shown = facts.providers.emplace_back();
      shown.name = name;
      shown.is_default = name == providers.default_provider;
      // Ollama is there by default, whether it runs or not.
      if (!online || (!shown.is_default && name == "ollama") || name == "scripted") continue;
      LlmRequest request;
      request.model = provider.model;
      request.messages.emplace_back().text = "ping";
      request.max_tokens = 1;
      try {
        provider.client->complete(request, {}, Deadline::after(kModelPatience));
        shown.refusal = "";
      } catch (const Error& error) {
        shown.refusal = error.what();
      }
    }
  } catch (const Error& error) {
    facts.providers.push_back({"", true, error.what(), {}});
  }
  return facts;
}

}  // namespace opscore
