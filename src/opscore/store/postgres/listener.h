#pragma once
// Hears what other processes commit, and tells this one's change feed. Its connection listens; as a
// backstop it looks every now and then for due tasks that nobody has taken. After a lost connection
// the feed is reset, since nobody knows what was missed. Asks for the time, too. Owns one thread.

#include <map>

#include "opscore/base/thread.h"
#include "opscore/store/postgres/backoff.h"
#include "opscore/store/postgres/parts.h"
#include "opscore/store/postgres/server_clock.h"

namespace opscore::postgres {

struct ListenerOptions {
  ConnectOptions connect;
  std::string channel;
  std::string origin;  // whose news are known already
  Duration poll_every{1000};
  bool announce = false;         // this process has a broker: tokens are to be written
  ServerClock* clock = nullptr;  // told what time it is there
};

class Listener {
 public:
  Listener(Parts& parts, ListenerOptions options);
  ~Listener();
  // Listens when it returns. Throws Error{unavailable}.
  void start();

 private:
  Duration tick();
  void connect(Deadline deadline);
  void hear();
  void look_for_stale_work();
  void keep_announcing();
  void ask_the_time();

  Parts& parts_;
  const ListenerOptions options_;
  const int wake_fd_;
  // Everything below belongs to start(), then to the thread.
  std::unique_ptr<Connection> connection_;
  Backoff backoff_;
  Deadline next_poll_;
  Deadline next_announce_;
  Deadline next_question_;           // what time it is
  std::map<LaneId, TaskKey> heads_;  // the first due task of each lane, at the last look
  Loop loop_;
};

}  // namespace opscore::postgres
