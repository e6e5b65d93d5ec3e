#pragma once
// Children that are threads of this process and run actors of a Registry: what a runner of children
// is held to the conformance suite with. Tests may break one, as a crash would.

#include <deque>
#include <memory>
#include <thread>

#include "opscore/actor/actor.h"
#include "opscore/actor/children.h"
#include "opscore/base/mutex.h"
#include "opscore/base/time.h"

namespace opscore {

class ThreadChildren final : public Children {
 public:
  // `slots` are divided among `count` children. The destructor waits for actors that still run.
  ThreadChildren(std::shared_ptr<const Registry> actors, const Clock& clock, size_t count,
                 size_t slots);
  ~ThreadChildren() override;

  // The child that has this task in a slot ends so, and another takes its place.
  void end(uint64_t number, ChildEnd::Why why, std::optional<uint64_t> blamed);
  void retire_all();

  void listen(ChildListener* listener) override;
  void run(ChildId child, const std::vector<HostedTask>& tasks) override;
  void stop(ChildId child, uint64_t number, HostedStop why) override;
  void take_back(ChildId child, uint64_t number) override;
  void reply(ChildId child, uint64_t call, const StepReply& reply) override;
  void kill(ChildId child, const std::string& why) override;
  void let_go(ChildId child) override;
  std::vector<HostedEntry> entered(ChildId child) const override;

 private:
  class Child;
  using Event = std::function<void(ChildListener&)>;

  std::shared_ptr<Child> find(ChildId id) const;
  void add_child(size_t slots);
  void lose(const std::shared_ptr<Child>& child, ChildEnd end);
  void post(Event event);
  void deliver();

  const std::shared_ptr<const Registry> actors_;
  const Clock& clock_;
  mutable Mutex mutex_;
  ConditionVariable changed_;
  ChildId next_id_ OPSCORE_GUARDED_BY(mutex_) = 1;
  std::map<ChildId, std::shared_ptr<Child>> children_ OPSCORE_GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<Child>> lost_ OPSCORE_GUARDED_BY(mutex_);  // may still run actors
  std::deque<Event> events_ OPSCORE_GUARDED_BY(mutex_);
  bool ending_ OPSCORE_GUARDED_BY(mutex_) = false;
  Mutex listener_mutex_;  // held during calls
  ChildListener* listener_ OPSCORE_GUARDED_BY(listener_mutex_) = nullptr;
  std::jthread events_thread_;
};

}  // namespace opscore
