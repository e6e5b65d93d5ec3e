#pragma once
// Two runners as one: what is hosted by children goes to the one, everything else to the other.

#include "opscore/base/mutex.h"
#include "opscore/worker/runner.h"

namespace opscore {

// Both must outlive it. Thread-safe as they are.
class SplitRunner final : public Runner {
 public:
  SplitRunner(Runner& own, Runner& hosted) : own_(own), hosted_(hosted) {}

  void start(std::vector<ClaimedTask> tasks) override;
  void stop(const Lease& lease, StopReason reason) override;
  void stop_all(StopReason reason) override;
  size_t hand_back_unstarted(Duration age) override;
  std::shared_ptr<const std::vector<std::string>> types() const override;
  // A runner that has room for less than a claim may bring says so, too: no more of its types are
  // claimed than it will start soon, however much the other one wants.
  std::vector<ClaimRequest::Room> room() const override;
  void set_concurrency(std::map<std::string, int64_t> chosen) override;
  bool holds(const Lease& lease) const override;
  size_t free() const override;
  size_t appetite(Duration ahead) const override;
  bool idle() const override;
  void fill(SessionReport& report) const override;

 private:
  Runner& own_;
  Runner& hosted_;
  // The same object for the same types, so that callers can tell whether they changed.
  struct Types {
    std::shared_ptr<const std::vector<std::string>> own, hosted, all;
  };
  mutable Mutex mutex_;
  mutable Types types_ OPSCORE_GUARDED_BY(mutex_);
};

}  // namespace opscore
