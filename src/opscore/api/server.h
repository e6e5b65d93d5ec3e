#pragma once
// The REST API as a server: edge, request pool, routes and parked requests, wired together.
//
//   ApiServer api(service, metrics, log, {.port = 8000});
//   api.start();
//   ...
//   api.stop(Deadline::after(30s));
//
// Threads: one edge thread, up to 128 for requests, one that follows changes for parked requests.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "opscore/api/reload_report.h"
#include "opscore/base/log.h"
#include "opscore/base/metrics.h"
#include "opscore/base/time.h"
#include "opscore/doctor/explain.h"
#include "opscore/engine/service.h"

namespace opscore {

struct ApiOptions {
  std::string address = "127.0.0.1";
  uint16_t port = 8000;  // 0: any free one, see port()
  int listen_fd = -1;    // an already listening socket, instead; the server takes it over
  std::string token;     // what clients must present; empty: no authentication
  std::string version = "0.1.0";
  bool probes_only = false;              // /health, /ready and /metrics
  bool ops_core = false;                 // answers as clients of ops-core expect them
  std::function<ReloadReport()> reload;  // of the configuration; empty: cannot
  LookAtQueues look_at_queues;           // for explain; empty: there is no broker to ask
  size_t connections_max = 10'000;
  // Without a token: the names under which the server may be called, beside loopback ones.
  std::vector<std::string> allowed_hosts;
  // For requests that arrive slowly, and answers and streams that are read slowly.
  Duration client_timeout = std::chrono::seconds(30);
  std::function<void()> on_progress = [] {};  // the edge is alive; each second or more often
};

// Safe for concurrent use. start() and stop() are idempotent; it cannot be started again.
class ApiServer {
 public:
  // `service`, `metrics` and `log` must outlive the server. Listens from here on; throws
  // Error{unavailable} when it cannot.
  ApiServer(Service& service, Metrics& metrics, Log& log, ApiOptions options);
  ~ApiServer();
  ApiServer(const ApiServer&) = delete;

  void start();
  // Accepts no more, answers waiting requests with the state of their task, ends event streams, and
  // finishes what has begun; at the deadline it cuts what is left.
  void stop(Deadline deadline);
  uint16_t port() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace opscore
