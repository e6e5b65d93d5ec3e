#pragma once
// What the configuration says about hosting Python: [python].

#include <cstdint>
#include <string>
#include <vector>

#include "opscore/app/config_bytes.h"

namespace opscore {

struct PythonConfig {
  std::vector<std::string> modules;  // empty: no Python is hosted
  bool dramatiq = false;       // they are those of a Dramatiq application, the broker first
  std::vector<std::string> path;
  std::string interpreter;  // empty: the virtual environment's, else python3 of PATH
  std::string program;    // the file that is; filled by the check
  int processes = 0;
  int threads = 0;
  Bytes max_memory;
  int max_tasks = 0;
};

}  // namespace opscore
