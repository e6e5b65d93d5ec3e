#pragma once
// The public header for programs with actors of their own. Such a program links the library, adds
// its actors and is then its own `opscore`, with every subcommand:
//
//   #include "opscore/actor.h"
//   int main(int argc, char** argv) {
//     return opscore::run_main(argc, argv, [](opscore::Registry& actors) {
//       actors.add("greet", [](opscore::TaskContext& task) { return task.input(); });
//     });
//   }

#include <functional>

#include "opscore/actor/actor.h"

namespace opscore {

// Runs the opscore command line. `add_actors` is called once in each process that runs tasks,
// before any starts. Returns the exit code.
int run_main(int argc, char** argv, const std::function<void(Registry&)>& add_actors);

}  // namespace opscore
