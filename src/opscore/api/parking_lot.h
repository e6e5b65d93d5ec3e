#pragma once
// Requests that wait for a task without holding a thread: ?wait= and event streams. One thread
// follows the change feed while anybody is parked, and has the request pool look at those whose
// task changed, whose time is up, or who has not heard from us for a while.

#include <set>
#include <unordered_map>

#include "opscore/api/http/http_server.h"
#include "opscore/api/request_pool.h"
#include "opscore/api/routes.h"
#include "opscore/base/mutex.h"
#include "opscore/base/thread.h"

namespace opscore {

// Safe for concurrent use. start() and stop() are idempotent. What it refers to must outlive it.
class ParkingLot {
 public:
  ParkingLot(Service& service, Routes& routes, RequestPool& pool, HttpServer& server, Log& log);
  ~ParkingLot();
  ParkingLot(const ParkingLot&) = delete;

  void start();
  // Answers all waiting requests with what there is, ends all streams, and parks no more.
  void stop();
  // Looks at once, too, so a change between the request's own look and now is not missed.
  void park(ExchangeId id, Wait wait);
  void park(ExchangeId id, Stream stream);
  void remove(ExchangeId id);
  // The edge has sent the first `pieces` that were pushed to the stream.
  void drained(ExchangeId id, uint64_t pieces);
  size_t size() const;

 private:
  struct Parked {
    Wait wait;  // for streams only the key is used
    bool is_stream = false;
    int last_event = 0;      // sent to the stream
    std::string progress;    // likewise
    SteadyPoint spoke_at{};  // when something was last sent to the stream
    SteadyPoint look_at{};   // at the latest
    bool looking = false;    // by some thread, which alone may change what was sent
    uint64_t pushed = 0;     // pieces given to the edge
    uint64_t drained = 0;    // of those: on their way to the client; changed by the edge only
    bool behind = false;     // there is more to send, once all pieces are drained
    bool again = false;      // something happened meanwhile
  };

  void add(ExchangeId id, Parked parked);
  Duration tick(std::stop_token stop);
  SteadyPoint next_look(SteadyPoint now) const OPSCORE_REQUIRES(mutex_);
  bool collect(const ChangeBatch& batch, std::vector<ExchangeId>& due) OPSCORE_REQUIRES(mutex_);
  void look_at(ExchangeId id, Parked& parked, SteadyPoint at) OPSCORE_REQUIRES(mutex_);
  void ask(ExchangeId id);
  void look(ExchangeId id);
  bool feed(ExchangeId id, Parked& parked, bool last);
  std::string news(Parked& parked, bool& last);
  void erase(ExchangeId id) OPSCORE_REQUIRES(mutex_);
  Duration stream_pace(ExchangeId id) const OPSCORE_REQUIRES(mutex_);

  Service& service_;
  Routes& routes_;
  RequestPool& pool_;
  HttpServer& server_;
  Log& log_;

  mutable Mutex mutex_;
  ConditionVariable settled_;
  std::unordered_map<ExchangeId, Parked> parked_ OPSCORE_GUARDED_BY(mutex_);
  std::unordered_multimap<TaskKey, ExchangeId> by_task_ OPSCORE_GUARDED_BY(mutex_);
  std::set<std::pair<SteadyPoint, uint64_t>> by_time_
      OPSCORE_GUARDED_BY(mutex_);  // when to look at the latest, at whom
  uint64_t since_ OPSCORE_GUARDED_BY(mutex_) =
      0;  // position in the change feed; kept only while somebody is parked
  SteadyPoint waits_until_ OPSCORE_GUARDED_BY(mutex_){};  // of the watcher
  size_t looking_ OPSCORE_GUARDED_BY(mutex_) = 0;
  bool stopped_ OPSCORE_GUARDED_BY(mutex_) = false;

  Loop watcher_;
};

}  // namespace opscore
