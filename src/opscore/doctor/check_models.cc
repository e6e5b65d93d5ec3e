#include <fmt/format.h>

#include "opscore/doctor/checks.h"

namespace opscore {

std::vector<Finding> check_models(const ModelFacts& facts) {
  std::vector<Finding> findings;
  for (const ModelFacts::Provider& provider : facts.providers) {
    // The built-in ones are there whether somebody wants them or not.
    if (provider.is_default && !provider.unusable.empty())
      findings.push_back({Ailment::llm_key_missing, provider.unusable,
                          "Agent tasks that name no provider are refused.",
                          "opscore config show | grep agent"});
    if (provider.refusal && !provider.refusal->empty())
      findings.push_back({Ailment::llm_refused,
                          fmt::format("provider '{}': {}", provider.name, *provider.refusal),
                          "One call was made, as an agent makes it, and it did not succeed.",
                          "opscore doctor --online"});
  }
  return findings;
}

}  // namespace opscore
