#pragma once
// What a reload of the configuration did.

#include <string>
#include <vector>

namespace opscore {

struct ReloadReport {
  std::vector<std::string> changed;        // "log.level", "actors.mail.send (added)"
  std::vector<std::string> needs_restart;  // differ, but cannot change while running
  std::vector<std::string> notes;          // of the configuration
};

}  // namespace opscore
