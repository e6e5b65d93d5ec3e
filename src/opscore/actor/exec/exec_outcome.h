#pragma once
// What one run of a program means for its task: a pure function.

#include <string>

#include "opscore/actor/exec/exec_actor.h"
#include "opscore/process/run_program.h"

namespace opscore {

// `tail` is the end of its stderr.
Outcome decide_exec(const ExecOptions& options, const ProgramEnd& end, const std::string& tail);

}  // namespace opscore
