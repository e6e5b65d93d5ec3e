#pragma once
// What a process says of itself when it opens a session, so that two workers can be compared.
// Secrets are masked: see masking.h.

#include <string>

#include "opscore/actor/actor.h"
#include "opscore/app/config.h"
#include "opscore/base/json.h"
#include "opscore/process/launch.h"

namespace opscore {

std::string session_name();  // "host:pid"
// JSON, what is shown with every worker: executable, argv, pid, ppid, host, user, cwd, version,
// build.
std::string session_context();

struct ContextSources {
  const Config& config;
  Role role;
  const Launch& launch;
  const Registry& actors;
  std::string store_identity;
  std::string python;  // JSON: PythonChildren::surroundings(); empty: none is hosted
};
// All of it; doctor/compare_contexts.h knows its members. Resolves the hosts of services, and waits
// a third of a second for each.
Json full_context(const ContextSources& sources);

}  // namespace opscore
