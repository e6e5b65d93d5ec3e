#pragma once
// Everything this process can run: the built-ins, the actors of the configuration, the agent, and
// what the program's own code adds.

#include <string>

#include "opscore/actor/actor.h"
#include "opscore/agent/providers.h"
#include "opscore/app/commands.h"
#include "opscore/base/random.h"
#include "opscore/net/http_client.h"
#include "opscore/process/cgroup.h"
#include "opscore/process/reaper.h"

namespace opscore {

struct InstalledActors {
  Registry registry;
  // What the banner says of the agent: which provider, and why.
  std::string agent_words;
};

// `runs`: whether this process runs tasks; when it does not, it needs none of the programs.
// `demo_agent`: when nothing names a provider, agent tasks replay the demo script (only `up` may).
// `hosted`: what child processes can run.
// `groups`: for programs in sandboxes, null when there are none.
// The references and `groups` must outlive the result. Throws Error{invalid} for a name given
// twice.
std::unique_ptr<InstalledActors> install_actors(const Config& config, const AddActors& add_actors,
                                                const std::vector<CatalogueEntry>& hosted,
                                                bool runs, bool demo_agent, Reaper& reaper,
                                                Cgroups* groups, HttpClient& http,
                                                const AddressGuard& guard, const Clock& clock,
                                                Random& random);

// The language models that its agent may ask. `http`, `clock` and `random` must outlive them.
Providers configured_providers(const Config& config, HttpClient& http, const Clock& clock,
                               Random& random);

}  // namespace opscore
