#pragma once
// From a parsed command line to the command that runs it. run_main(), in opscore/actor.h, is the
// whole of it for a process.

#include <iosfwd>
#include <map>
#include <string>

#include "opscore/app/command_options.h"

namespace opscore {

// The role that decides what the configuration must hold for a command.
Role role_of(const std::string& command);

// The sources of configuration for a command line, in this process' working directory.
ConfigSources config_sources(const CommandLine& line,
                             const std::map<std::string, std::string>& environment);

// The variables of this process.
std::map<std::string, std::string> process_environment();

// "opscore: <attempted>: <what went wrong>", with following lines indented.
std::string error_text(const std::string& attempted, const std::string& message);

}  // namespace opscore
