#pragma once
// The commands as CLI11 has them, for those that write about them.

#include <functional>

namespace CLI {
class App;
}

namespace opscore {

struct RunOptions;

// How it says that it takes work: of every command that starts a worker.
void add_readiness_arguments(CLI::App& command, RunOptions& run);

void look_at_commands(const std::function<void(CLI::App& root)>& look);

}  // namespace opscore
