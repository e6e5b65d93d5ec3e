#pragma once
// A C++ function as an actor. What it throws is the runner's business.

#include <functional>
#include <memory>

#include "opscore/actor/actor.h"

namespace opscore {

// The function is called from several threads at once. Throws Error{invalid} when it is empty.
std::unique_ptr<Actor> make_function_actor(std::function<Outcome(TaskContext&)> function);

}  // namespace opscore
