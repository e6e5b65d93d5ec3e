#pragma once
// From the configuration to the interpreters that host Python actors.

#include <expected>
#include <string>

#include "opscore/actor/python/python_children.h"
#include "opscore/app/config.h"

namespace opscore {

// The interpreter to be used: the configured one, else that of the active virtual environment, else
// python3 of PATH. The error says which it was, and what is wrong with it.
std::expected<std::string, Error> find_interpreter(const Config& config);

// `api_port`: of this process, 0 when it has none; actors find it as OPSCORE_URL.
PythonOptions python_options(const Config& config, int api_port);

}  // namespace opscore
