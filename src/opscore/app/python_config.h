#pragma once
// What the configuration says about hosting Python: [python].

#include <cstdint>
#include <string>
#include <vector>

#include "opscore/app/config_types.h"

namespace opscore {

struct PythonConfig {
  std::vector<std::string> modules;  // empty: no Python is hosted
  std::string kind;                  // opscore; dramatiq: then the first module names the broker
  std::vector<std::string> path;
  std::string interpreter;  // empty: the virtual environment's, else python3 of PATH
  std::string program;      // the file that is; filled by the check
  int processes = 0;
  int threads = 0;
  Bytes max_memory;
  int max_tasks = 0;
  bool take_logging = true;
  std::string watch;  // empty: nothing is watched
  std::vector<std::string> watch_include;
  std::vector<std::string> watch_exclude;
};

}  // namespace opscore
