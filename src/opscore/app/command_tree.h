#pragma once
// The commands as CLI11 has them, for those that write about them.

#include <functional>

namespace CLI {
class App;
}

namespace opscore {

void look_at_commands(const std::function<void(CLI::App& root)>& look);

}  // namespace opscore
