#pragma once
// Why a task is where it is, and whether a queue or a worker works: walks the way of a task, hop by
// hop, and stops at the first broken link. Reads the store, so it also works on a data file whose
// server is down, and asks the broker when it is given a way to.

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "opscore/base/json.h"
#include "opscore/base/time.h"
#include "opscore/engine/diagnosis.h"
#include "opscore/store/store.h"

namespace opscore {

struct Hop {
  // Of a task that opscore runs: record, adoption (when it was a message), outbox, broker, queue,
  // session, intake, slot, attempt, step (when it has some), finish. Of one that Python runs:
  // record, outbox, broker, queue, lease, attempt, finish.
  std::string name;
  bool ok = true;
  std::string evidence;  // with times and numbers
};

struct Explanation {
  std::string of = "task_id";  // or queue, worker
  std::string name;            // the id, or the name
  std::string state;
  std::vector<Hop> hops;     // up to and including the first broken one
  std::string verdict;       // a stable word of engine/diagnosis.h or engine/worker_diagnosis.h
  std::string sentence;      // for people
  std::string next_command;  // what to run now
};

// What RabbitMQ says of queues, under its names for them. Does not throw; takes a few seconds at
// most. Empty: there is no broker, or it is not for this process to ask.
using LookAtQueues = std::function<BrokerLook(const std::vector<std::string>& names)>;

struct ExplainOptions {
  bool server_down = false;  // the store is read without a server: nothing runs whatever it says
  LookAtQueues look_at_queues;
};

// Throw Error{not_found}. A queue is explained by the task that waits there longest.
Explanation explain(Store& store, const Clock& clock, std::string_view task_id,
                    const ExplainOptions& options = {});
Explanation explain_queue(Store& store, const Clock& clock, const std::string& queue,
                          const ExplainOptions& options = {});
// `worker` is "worker-7" or "7".
Explanation explain_worker(Store& store, const Clock& clock, std::string_view worker,
                           const ExplainOptions& options = {});

Json to_json(const Explanation& explanation);
std::string to_text(const Explanation& explanation);

}  // namespace opscore
