#pragma once
// What the configuration says about sandboxes, checked against this machine. Single-threaded.

#include "opscore/app/config.h"

namespace opscore {

// Fills every actor's `sandbox` and, for roles that run tasks, `config.sandbox`: when an actor
// needs a sandbox, one is tried. Problems and notes name file and line.
void check_sandbox(Config& config, Role role, std::vector<std::string>& problems);

// Why this actor runs without the sandbox that it prefers; empty when it does not.
std::string unsandboxed(const Config& config, const ActorConfig& actor);

// What the sandbox of this actor hides unless it is named: homes, passwords, and what is opscore's
// own: the data folder, the configuration, tokens.
std::vector<std::string> hidden_from(const Config& config, const ActorConfig& actor);

}  // namespace opscore
