#pragma once
// What the manager of services that started us is told: that we are ready, alive, or stopping. This
// is the protocol of sd_notify(3), a datagram for each message, without its library. Where nobody
// listens nothing happens. Any thread.

#include <atomic>
#include <map>
#include <string>

#include "opscore/base/time.h"

namespace opscore {

class Systemd {
 public:
  // By NOTIFY_SOCKET and WATCHDOG_USEC of the environment.
  explicit Systemd(const std::map<std::string, std::string>& environment);
  ~Systemd();
  Systemd(const Systemd&) = delete;

  void ready();
  void stopping();
  // To be called often; passed on as often as the manager wants to hear it.
  void alive();

 private:
  void send(const char* message) const;

  int socket_ = -1;  // -1: nobody listens
  std::atomic<bool> said_ready_{false};
  std::atomic<bool> said_stopping_{false};
  int64_t alive_every_us_ = 0;           // 0: nobody wants to hear it
  std::atomic<int64_t> alive_at_us_{0};  // by the steady clock: not before this
};

}  // namespace opscore
