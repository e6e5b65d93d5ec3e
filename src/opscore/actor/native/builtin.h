#pragma once
// The actors that every opscore has, for trying it, testing it and measuring it.
//
//   opscore.noop   does nothing
//   opscore.echo   result = input, byte for byte
//   opscore.sleep  {"ms": 250}; stops when asked
//   opscore.fail   {"message": "...", "retryable": false}, both optional
//   opscore.crash  takes its process down with SIGSEGV

#include "opscore/actor/actor.h"

namespace opscore {

// Throws Error{invalid} when one of the names is taken.
void add_builtin_actors(Registry& registry);

}  // namespace opscore
