#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "opscore/doctor/checks.h"

namespace opscore {
namespace {

// As many as a small server needs: its connections, the store's, three for each program that runs.
constexpr uint64_t kOpenFilesFew = 256;

std::string variable(const HostFacts& facts, const std::string& name) {
  auto found = facts.environment.find(name);
  return found == facts.environment.end() ? "" : found->second;
}

void add_config(const HostFacts& facts, std::vector<Finding>& findings) {
  for (const std::string& problem : facts.config_problems)
    findings.push_back({Ailment::config_invalid, problem,
                        "The configuration is refused as a whole, so nothing starts with it.",
                        "opscore config check"});
  for (const std::string& note : facts.config_notes)
    findings.push_back({Ailment::config_note, note,
                        "The configuration is used, and this may not be what was meant.",
                        "opscore config show"});
}

void add_environment(const HostFacts& facts, std::vector<Finding>& findings) {
  for (const std::string& name : facts.variables)
    if (facts.environment.contains(name) && variable(facts, name).empty())
      findings.push_back({Ailment::empty_variable, fmt::format("{} is set, to nothing", name),
                          "What is empty counts as unset: the next source, or the default, holds. "
                          "Often a variable of a script or of compose had no value.",
                          fmt::format("unset {}", name)});
  if (std::string value = variable(facts, "DRAMATIQ_TESTING"); !value.empty())
    findings.push_back({Ailment::dramatiq_testing, "DRAMATIQ_TESTING is set",
                        "Applications that look at it use Dramatiq's StubBroker, which keeps "
                        "messages in the process: nothing reaches RabbitMQ, and nothing fails.",
                        "unset DRAMATIQ_TESTING"});
  std::vector<std::string> proxies;
  for (const char* name :
       {"http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"})
    if (!variable(facts, name).empty()) proxies.emplace_back(name);
  if (!proxies.empty())
    findings.push_back({Ailment::proxy_set, fmt::format("{} set", fmt::join(proxies, ", ")),
                        "Calls of model providers and http actors go through that proxy, except "
                        "to this machine and to what NO_PROXY names; webhooks never do.",
                        "env | grep -i _proxy | sed 's|//.*@|//|'"});
}

}  // namespace

std::vector<Finding> check_host(const HostFacts& facts) {
  std::vector<Finding> findings;
  add_config(facts, findings);
  add_environment(facts, findings);
  if (facts.open_files < kOpenFilesFew)
    findings.push_back({Ailment::open_files_low,
                        fmt::format("at most {} files may be open", facts.open_files),
                        "A server holds one for each connection and program; it refuses clients "
                        "when none is left.",
                        "ulimit -n 4096"});
  if (!facts.time_zone_known)
    findings.push_back({Ailment::time_zone, fmt::format("TZ is '{}'", variable(facts, "TZ")),
                        "There is no time zone of that name here, so programs silently use UTC. "
                        "opscore itself works in UTC; what it starts inherits TZ.",
                        "unset TZ"});
  return findings;
}

}  // namespace opscore
