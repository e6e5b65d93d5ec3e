#pragma once
// The configuration for people: every value with its origin, and the reference of all settings.

#include <set>
#include <string>

#include "opscore/app/config.h"
#include "opscore/base/json.h"

namespace opscore {

struct ShownSetting {
  std::string key;
  std::string value;  // as opscore.toml would spell it, secrets masked; empty: unset
  std::string origin;
};

// All settings, actors and providers included, in the order of the reference.
std::vector<ShownSetting> shown_settings(const Config& config);
std::string config_text(const Config& config);
Json config_json(const Config& config);
// Values of settings and variables that must not be shown: secrets, passwords of URLs, and what
// masked_environment() masks.
std::set<std::string> known_secrets(const Config& config);

// docs/reference/config.md, from the tables of settings.
std::string config_reference();

}  // namespace opscore
