#pragma once
// The history of a task: what its rows imply (submit, start, finish are never stored twice) merged
// with the stored, unusual events, in the order in which they happened. Pure.

#include <vector>

#include "opscore/model/task.h"

namespace opscore {

std::vector<TaskEvent> history(const Task& task, const std::vector<Attempt>& attempts,
                               const std::vector<TaskEvent>& stored);

}  // namespace opscore
