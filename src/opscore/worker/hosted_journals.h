#pragma once
// The journals of tasks that run in children: steps that children ask for are looked up and written
// on a thread of its own, since the store may be slow and the children must be heard meanwhile. So
// are tasks that they submit, each a step.

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "opscore/actor/children.h"
#include "opscore/base/mutex.h"
#include "opscore/base/thread.h"
#include "opscore/worker/slot_context.h"

namespace opscore {

// Submits a task: the body of a submit, and a key under which it is submitted once if the body has
// none of its own. Answers what a submit answers. Throws Error.
using SubmitTask = std::function<std::string(const std::string& body, const std::string& key)>;

// Any thread may call. All arguments must outlive it.
class HostedJournals {
 public:
  HostedJournals(Children& children, Store& store, const Clock& clock, Log& log, SubmitTask submit);

  void start() { loop_.start(); }
  void stop() { loop_.stop(); }
  // The child is answered with the step's call.
  void ask(ChildId child, ChildNews::Step step, const ClaimedTask& task);
  // The attempt with this number is over.
  void close(uint64_t number);

 private:
  // Lives on while a step of it is being written.
  struct Journal {
    Journal(ClaimedTask of, Store& store) : task(std::move(of)), steps(task, store) {}
    const ClaimedTask task;
    TaskJournal steps;
  };
  struct Asked {
    ChildId child;
    ChildNews::Step step;
    std::shared_ptr<Journal> journal;
  };

  Duration tick();
  StepReply answer(const Asked& asked) const;
  StepReply submit(const Asked& asked) const;

  Children& children_;
  Store& store_;
  const Clock& clock_;
  const SubmitTask submit_;
  Mutex mutex_;
  std::map<uint64_t, std::shared_ptr<Journal>> journals_ OPSCORE_GUARDED_BY(mutex_);
  std::vector<Asked> asked_ OPSCORE_GUARDED_BY(mutex_);
  Loop loop_;
};

}  // namespace opscore
