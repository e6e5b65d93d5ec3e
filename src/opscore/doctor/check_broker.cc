#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <regex>

#include "opscore/doctor/checks.h"

namespace opscore {
namespace {

constexpr std::string_view kOwn = "opscore.";  // what names of our queues begin with

bool contains(const std::vector<std::string>& list, std::string_view word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

std::string canonical(const std::string& queue) {
  const bool has_suffix = queue.ends_with(".DQ") || queue.ends_with(".XQ");
  return has_suffix ? queue.substr(0, queue.size() - 3) : queue;
}

std::string messages(uint64_t count) {
  return fmt::format("{} message{}", count, count == 1 ? "" : "s");
}

std::string words_of(const BrokerFacts::Consumer& consumer) {
  const std::string name = consumer.name.empty() ? "" : fmt::format("'{}' ", consumer.name);
  return fmt::format("{}({}) from {}, user {}{}{}", name, consumer.product, consumer.peer,
                     consumer.user, consumer.pid ? fmt::format(", pid {}", *consumer.pid) : "",
                     consumer.program.empty() ? "" : fmt::format(" ({})", consumer.program));
}

std::string inspect(const std::string& queue) {
  return fmt::format("opscore broker inspect {}", queue);
}

// RabbitMQ has patterns that we cannot read: they may permit it.
bool permits(const std::string& pattern, const std::string& resource) {
  try {
    return !pattern.empty() && std::regex_search(resource, std::regex(pattern));
  } catch (const std::regex_error&) {
    return true;
  }
}

// Empty: as it must be.
std::string wrong_arguments(const BrokerFacts::Queue& queue) {
  if (!queue.durable) return "it is not durable";
  if (queue.name.starts_with(kOwn) || queue.name.ends_with(".XQ")) return "";
  const auto has = [&](const char* name, const std::string& value) {
    auto found = queue.arguments.find(name);
    return found != queue.arguments.end() && found->second == value;
  };
  const std::string dead = canonical(queue.name) + ".XQ";
  if (!has("x-dead-letter-exchange", "")) return "x-dead-letter-exchange is not \"\"";
  if (!has("x-dead-letter-routing-key", dead))
    return fmt::format("x-dead-letter-routing-key is not {}", dead);
  return "";
}

void add_queue(const BrokerFacts& facts, const BrokerFacts::Queue& queue,
               std::vector<Finding>& findings) {
  if (queue.arguments_known)
    if (std::string wrong = wrong_arguments(queue); !wrong.empty())
      findings.push_back(
          {Ailment::queue_arguments, fmt::format("queue {}: {}", queue.name, wrong),
           "Somebody declared it with other arguments. Messages that fail there are lost instead "
           "of dead, or do not survive a restart of RabbitMQ; arguments cannot be changed, only "
           "an empty queue be deleted and declared again.",
           inspect(queue.name)});
  const bool ours = queue.name.starts_with(kOwn) ||
                    contains(facts.adopted, canonical(queue.name)) ||
                    contains(facts.handed, canonical(queue.name));
  if (ours && queue.ready > 0 && queue.consumers == 0 && !queue.name.ends_with(".XQ"))
    findings.push_back(
        {Ailment::queue_unconsumed,
         fmt::format("queue {} has {} and no consumer", queue.name, messages(queue.ready)),
         queue.name.starts_with(kOwn)
             ? "All workers of it are gone, or have no free slot."
             : "No Python worker, and no worker that adopts it, is connected.",
         queue.name.starts_with(kOwn) ? "opscore workers list" : inspect(queue.name)});
}

void add_consumer(const BrokerFacts& facts, const BrokerFacts::Consumer& consumer,
                  std::vector<Finding>& findings) {
  const Duration idle = consumer.idle_since ? facts.now - *consumer.idle_since : Duration(0);
  if (consumer.unacked > 0 && idle > facts.unacked_older_than)
    findings.push_back(
        {Ailment::unacked_held,
         fmt::format("queue {}: {} held by {}, whose channel has been idle for {}", consumer.queue,
                     messages(consumer.unacked), words_of(consumer), to_text(idle)),
         consumer.is_opscore()
             ? "A worker of opscore answers a message as soon as the store has it, so this one is "
               "stopped, stuck, or cut off from the store."
             : "That process runs them, or has stopped: RabbitMQ gives them to nobody else until "
               "its connection ends.",
         consumer.is_opscore() ? std::string("opscore workers list") : inspect(consumer.queue)});
  if (consumer.queue.starts_with(kOwn) && !consumer.is_opscore())
    findings.push_back(
        {Ailment::foreign_consumer,
         fmt::format("queue {} is consumed by {}", consumer.queue, words_of(consumer)),
         "That is no worker of opscore; hints that it takes are lost, so tasks "
         "start late.",
         consumer.pid ? fmt::format("kill {}", *consumer.pid) : inspect(consumer.queue)});
  if (consumer.is_opscore() && !consumer.store.empty() && !facts.store.empty() &&
      consumer.store != facts.store)
    findings.push_back(
        {Ailment::other_store,
         fmt::format("queue {} is consumed by {}, whose store is {}; ours is {}", consumer.queue,
                     words_of(consumer), consumer.store, facts.store),
         "Two installations share the virtual host: each takes hints and messages of the other. "
         "Give each one a virtual host of its own.",
         "opscore config show"});
}

void add_permissions(const BrokerFacts& facts, std::vector<Finding>& findings) {
  if (!facts.permissions) return;
  const auto& rights = *facts.permissions;
  std::vector<std::string> names{"opscore.default"};
  for (const auto* list : {&facts.adopted, &facts.handed})
    for (const std::string& queue : *list) names.push_back(queue);
  const std::pair<const char*, const std::string*> kinds[] = {
      {"configure", &rights.configure}, {"write", &rights.write}, {"read", &rights.read}};
  for (const auto& [kind, pattern] : kinds) {
    std::vector<std::string> without;
    for (const std::string& name : names) {
      // What is published goes through the default exchange.
      const std::string resource = std::string_view(kind) == "write" ? "amq.default" : name;
      if (!permits(*pattern, resource)) without.push_back(resource);
    }
    std::sort(without.begin(), without.end());
    without.erase(std::unique(without.begin(), without.end()), without.end());
    if (!without.empty())
      findings.push_back(
          {Ailment::permission_missing,
           fmt::format("user {} may not {} {} (its pattern: '{}')", rights.user, kind,
                       fmt::join(without, ", "), *pattern),
           "RabbitMQ refuses what needs that right.",
           fmt::format("rabbitmqctl set_permissions -p VHOST {} '.*' '.*' '.*'", rights.user)});
  }
}

}  // namespace

std::vector<Finding> check_broker(const BrokerFacts& facts) {
  if (facts.where.empty()) return {};  // there is none, and none is needed
  std::vector<Finding> findings;
  if (!facts.problem.empty())
    findings.push_back({Ailment::broker_unreachable, facts.problem,
                        "Workers go on by polling the store; messages of Dramatiq wait.",
                        "rabbitmq-diagnostics check_port_connectivity"});
  if (facts.management.empty())
    findings.push_back({Ailment::management_unknown, "broker.management_url is not set",
                        "Without RabbitMQ's management API nobody can tell who holds messages, nor "
                        "with which arguments queues were declared.",
                        "export RABBITMQ_MANAGEMENT_URL=http://USER:PASSWORD@HOST:15672"});
  else if (!facts.management_problem.empty())
    findings.push_back({Ailment::management_unknown, facts.management_problem,
                        fmt::format("{} does not tell who holds messages.", facts.management),
                        "rabbitmq-plugins enable rabbitmq_management"});
  for (const auto& queue : facts.queues) add_queue(facts, queue, findings);
  for (const auto& consumer : facts.consumers) add_consumer(facts, consumer, findings);
  add_permissions(facts, findings);
  return findings;
}

}  // namespace opscore
