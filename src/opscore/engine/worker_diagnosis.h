#pragma once
// Whether a worker works, decided from what its session says. Pure.

#include <optional>
#include <string>

#include "opscore/model/fleet.h"

namespace opscore {

// Stable words: each is documented in docs/troubleshooting.md.
enum class WorkerVerdict : uint8_t {
  worker_ended,
  worker_silent,    // its session does not renew
  worker_starting,  // not there yet
  worker_draining,
  slots_abandoned,  // actors do not stop
  tasks_unstarted,  // claimed, and no slot takes them
  broker_away,      // it polls the store meanwhile
  broker_refuses,   // some of its queues
  adoption_stalled,
  worker_busy,
  worker_ready,
  maintains,  // a process of maintenance
};
inline constexpr WorkerVerdict kLastWorkerVerdict = WorkerVerdict::maintains;

struct WorkerDiagnosis {
  WorkerVerdict verdict = WorkerVerdict::worker_ready;
  std::string sentence;
  // Which of session, broker, intake, slot broke; nothing when none did.
  std::optional<std::string> broken_hop;
};

std::string_view to_string(WorkerVerdict verdict);
WorkerDiagnosis diagnose_worker(const Session& session, TimePoint now);

}  // namespace opscore
