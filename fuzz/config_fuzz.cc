// Configuration from outside: any opscore.toml and .env end in a configuration or in problems,
// never in a crash, and what was accepted can be shown.

#include <cstdint>
#include <cstdlib>
#include <string>

#include "opscore/app/config.h"
#include "opscore/app/config_show.h"

// The text up to the first NUL byte is opscore.toml, the rest .env.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string text(reinterpret_cast<const char*>(data), size);
  size_t split = text.find('\0');
  std::string toml = text.substr(0, split);
  std::string dotenv = split == std::string::npos ? "" : text.substr(split + 1);

  opscore::ConfigSources sources;
  sources.environment = {{"OPSCORE_API_TOKEN", "hunter22-token"}};
  std::vector<std::string> problems;
  opscore::Config config = opscore::read_config(sources, toml, dotenv, problems);
  // As a client: what the text names on this machine is not looked at.
  opscore::check_config(config, opscore::Role::client, problems);
  for (const std::string& problem : problems)
    if (problem.find(": ") == std::string::npos) std::abort();  // each says where
  if (opscore::config_text(config).find("hunter22") != std::string::npos) std::abort();
  opscore::config_json(config);
  return 0;
}
