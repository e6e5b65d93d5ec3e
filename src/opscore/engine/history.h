#pragma once
// The history of a task: what its rows imply (submit, start, finish are never stored twice) merged
// with the stored, unusual events, in the order of cause and effect. Pure.
//
// A number is for ever: who has read a history and reads it again later, when more has happened or
// has become known, finds the same events under the same numbers and new ones after them. That is
// why the order does not come from times, which meet within a millisecond and come from several
// clocks, and why what happened during an attempt is not shown before it is known when it started.

#include <vector>

#include "opscore/model/task.h"

namespace opscore {

// All three as they were at one moment.
std::vector<TaskEvent> history(const Task& task, const std::vector<Attempt>& attempts,
                               const std::vector<TaskEvent>& stored);

}  // namespace opscore
