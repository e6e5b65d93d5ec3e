#pragma once
// How a store in SQL looks for the tasks of a bulk job.

#include "opscore/model/job.h"
#include "opscore/model/limits.h"

namespace opscore {

// `walk` is a FilterWalk over keys_left(job), oldest first.
template <class Walk>
JobLook look_along(Walk& walk, const Job& job, size_t most) {
  JobLook look;
  look.cursor = job.cursor;
  while (walk.next()) {
    if (look.found.size() == most || look.examined == limits::kListWalk) return look;
    ++look.examined;
    look.cursor = walk.key();
    if (auto state = walk.match()) look.found.emplace_back(look.cursor, *state);
  }
  look.ended = true;
  return look;
}

}  // namespace opscore
