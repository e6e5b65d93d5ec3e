#pragma once
// Adopts what Python sends: takes messages from Dramatiq's queues, makes tasks of them, and answers
// the broker once the store has them. What is for actors of somebody else is parked, what nobody
// could run goes to the dead-letter queue with the reason, and neither keeps others waiting.
//
// A crash at any point costs a repeated delivery, which the store recognises by the message's id.

#include <atomic>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "opscore/base/log.h"
#include "opscore/base/metrics.h"
#include "opscore/base/random.h"
#include "opscore/base/thread.h"
#include "opscore/broker/foreign_broker.h"
#include "opscore/engine/adoption.h"
#include "opscore/engine/service.h"

namespace opscore {

struct AdopterOptions {
  std::vector<std::string> queues;  // canonical
  size_t input_bytes_max = limits::kPayloadBytes;
  bool has_results = false;                 // whether there is a results backend
  std::vector<std::string> stores_results;  // actors whose results it gets; "*": all of them
};

class Adopter {
 public:
  // All must outlive it. The broker's consuming side is the adopter's alone.
  Adopter(Service& service, ForeignBroker& broker, const Clock& clock, Random& random, Log& log,
          Metrics& metrics, AdopterOptions options);

  void start() { loop_.start(); }
  // What it has not answered is delivered again, to anyone.
  void stop() { loop_.stop(); }
  // Takes what there is, waits for it until the deadline. How long to wait before the next step.
  // Throws what store and broker throw; what was not answered has been given back then.
  Duration step(Deadline deadline);

  // What it consumes, and why it does not at the moment. From any thread.
  void report(SessionReport& report) const;
  // Why it has not consumed all its queues yet; empty: it has. From any thread.
  std::string unready() const;

 private:
  struct Round;
  Duration tick();
  void follow_full_queues();
  void sort(Round& round);
  void send_on(Round& round, size_t place, DramatiqMessage message);
  void insert(Round& round);
  void insert_one_by_one(Round& round);
  void take_result(Round& round, size_t index, const InsertResult& result);
  void park(Round& round);
  void bury(Round& round);
  bool others_consume(const std::string& queue);
  void count(const std::string& queue, const char* outcome);

  Service& service_;
  ForeignBroker& broker_;
  const Clock& clock_;
  Random& random_;
  Log& log_;
  Metrics& metrics_;
  const AdopterOptions options_;
  std::set<std::string> subscribed_;
  std::atomic<bool> is_subscribed_{false};
  std::map<std::string, SteadyPoint> full_until_;  // queues that take no more for now
  struct Consumers {
    bool others = false;
    SteadyPoint seen_at;
  };
  std::map<std::string, Consumers> consumers_;
  bool failing_ = false;                       // at the last tick
  SteadyPoint say_at_{};                       // not before this again
  std::map<std::string, SteadyPoint> warned_;  // of foreign actors, by queue and name
  Loop loop_;
};

}  // namespace opscore
