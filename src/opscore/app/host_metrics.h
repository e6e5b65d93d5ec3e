#pragma once
// What a process says of itself and of its machine, for Prometheus: build, log, data file, disk,
// memory, restarts.

#include <string>

#include "opscore/base/log.h"
#include "opscore/base/metrics.h"

namespace opscore {

// Has `metrics` measure them at every exposition. `log` must outlive its last one. What cannot be
// measured at that moment, as a log of SQLite that is not there, is not exposed.
void add_host_metrics(Metrics& metrics, const Log& log, const std::string& data_file, int restarts);

}  // namespace opscore
