#pragma once
// Children: processes that run tasks for a runner in this one, many at once each. Python
// interpreters are some (python/), threads of this process that only act so, for tests and the
// simulation, are others (native/thread_children.h).
//
// A child has slots. A task is *sent* to it, and *entered* when it takes a slot; a child may be
// sent more tasks than it has slots, and starts them in their order.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "opscore/base/log.h"
#include "opscore/base/time.h"
#include "opscore/model/outcome.h"
#include "opscore/model/task.h"

namespace opscore {

using ChildId = uint64_t;  // never reused

// A task as a child is told of it. The references live as long as the call that passes it.
struct HostedTask {
  uint64_t number;          // chosen by the runner, never reused
  const std::string& type;  // the actor's own name, whatever the task was submitted as
  const std::string id;     // the public one
  const ClaimedTask& task;
  Duration timeout;
};

// What a running attempt is told when it must end.
enum class HostedStop : uint8_t { timeout, cancel, drain };

// A task in a slot.
struct HostedEntry {
  uint64_t number = 0;
  size_t slot = 0;  // of its child
  SteadyPoint began{};
};

inline constexpr char kSubmitStep[] = "submit";

// What a child says about its tasks. Within one ChildNews, lines and progress come before ends.
struct ChildNews {
  struct End {
    uint64_t number;
    SteadyPoint began, left;
    Outcome outcome;
  };
  struct Line {
    uint64_t number;
    LogLevel level;
    std::string text;
  };
  struct Progress {
    uint64_t number;
    std::string json;  // strict
  };
  // A step of a task's journal. Without an answer: the child asks whether the journal has it. One
  // of the kind kSubmitStep is done by who is asked; its request is the body of a submit.
  struct Step {
    uint64_t number;
    uint64_t call;  // repeated in the reply
    std::string kind, name, request;
    std::optional<std::string> answer;
    Duration took{0};
  };
  std::vector<Line> lines;
  std::vector<Progress> progress;
  std::vector<Step> steps;
  std::vector<End> ends;
  std::vector<uint64_t> dropped;  // asked to stop before they were entered: not run
};

// What a child is answered about a step.
struct StepReply {
  enum class Kind : uint8_t {
    run,       // the journal does not have it: do it, and say what came of it
    recorded,  // `answer` is what was journaled, just now or by an earlier attempt
    mismatch,  // the journal has another step at this place: `answer` says which
    refused,   // it cannot be journaled now, so the attempt must end: `answer` says why
    failed,    // it cannot be done, whenever it is asked for: `answer` says why
  } kind = Kind::run;
  std::string answer;
};

// How a child ended.
struct ChildEnd {
  enum class Why : uint8_t {
    left,     // it was told to, and had nothing left to do
    killed,   // by kill()
    gone,     // by somebody else, or it exited by itself
    crashed,  // a crash signal, or the OOM killer
  } why = Why::left;
  std::string words;   // "python child 2 (pid 17) was killed by SIGSEGV"
  std::string detail;  // the stack it left; may be empty
  std::vector<HostedEntry> entered;
  std::optional<uint64_t> blamed;  // the task whose thread crashed, when that is known
};

// Called from the children's own threads, one call at a time. Must not block for long.
class ChildListener {
 public:
  virtual ~ChildListener() = default;
  virtual void ready(ChildId child, size_t slots) = 0;
  virtual void heard(ChildId child, ChildNews news) = 0;
  // It is to be replaced: no more tasks are sent to it, and once it has none it is let go.
  virtual void retiring(ChildId child) = 0;
  virtual void ended(ChildId child, ChildEnd end) = 0;
};

// Any thread may call. A child that has ended ignores what it is told.
class Children {
 public:
  virtual ~Children() = default;
  // From now on; children that are ready are announced at once. Null: nobody listens, and when this
  // returns, no call is under way.
  virtual void listen(ChildListener* listener) = 0;
  virtual void run(ChildId child, const std::vector<HostedTask>& tasks) = 0;
  // What has not been entered comes back as dropped; what has been is asked to end.
  virtual void stop(ChildId child, uint64_t number, HostedStop why) = 0;
  // It comes back as dropped unless it has been entered.
  virtual void take_back(ChildId child, uint64_t number) = 0;
  virtual void reply(ChildId child, uint64_t call, const StepReply& reply) = 0;
  // At once; another takes its place.
  virtual void kill(ChildId child, const std::string& why) = 0;
  // It has nothing left to do and was retiring.
  virtual void let_go(ChildId child) = 0;
  virtual std::vector<HostedEntry> entered(ChildId child) const = 0;
};

}  // namespace opscore
