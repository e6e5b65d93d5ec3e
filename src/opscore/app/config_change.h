#pragma once
// What differs between two configurations, and what of it can change while running. Pure.

#include "opscore/app/config.h"

namespace opscore {

struct ConfigChange {
  std::vector<std::string> changed;        // "log.level", "actors.mail.send (added)"
  std::vector<std::string> needs_restart;  // "server.port"
};
ConfigChange compare_configs(const Config& before, const Config& after);

// `before` with all that can change while running as it is in `after`.
Config with_reloadable(Config before, Config after);

}  // namespace opscore
