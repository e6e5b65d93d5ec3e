#pragma once
// An actor runs the tasks of one type. Actors are added to a Registry by name, explicitly, before a
// worker starts; nothing registers itself.

#include <functional>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "opscore/base/log.h"
#include "opscore/model/fleet.h"
#include "opscore/model/limits.h"
#include "opscore/model/outcome.h"

namespace opscore {

// What an actor sees of its task and of the engine. Valid during run(); used by one thread, except
// stop(), which is set from outside.
class TaskContext {
 public:
  virtual ~TaskContext() = default;

  virtual const std::string& id() const = 0;  // public task id
  virtual const std::string& type() const = 0;
  virtual const std::string& input() const = 0;  // strict JSON text, as submitted
  virtual int attempt() const = 0;
  // Set when the attempt must end: cancel, timeout, drain, shutdown. Return within a second.
  virtual std::stop_token stop() const = 0;
  virtual Deadline deadline() const = 0;  // of this attempt
  virtual const Clock& clock() const = 0;

  // The last value is shown to users; written at most once a second; may be lost. Strict JSON.
  virtual void progress(std::string json) = 0;
  virtual void log(LogLevel level, std::string_view line) = 0;
  // Something unusual that users are to find in the task's history: once per attempt however often
  // it is said, written when the attempt ends, lost when its worker dies before that.
  virtual void notice(Notice notice) = 0;

  // Runs `action` once over all attempts of the task: its answer is journaled before it is
  // returned, and a retry gets the journaled answer without running it. All of request and answer
  // is JSON. Throws JournalMismatch when the journal has another step at this place, and Error when
  // the step cannot be recorded (then the attempt must end).
  virtual std::string step(const std::string& kind, const std::string& name,
                           const std::string& request,
                           const std::function<std::string()>& action) = 0;
};

// The code asked for another step than the journal holds. The runner fails the task with it.
class JournalMismatch : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// One type's code. run() is called from several threads at once, one call per task. An exception
// counts as a retryable failure with its what(); Error::retryable() is honoured.
class Actor {
 public:
  virtual ~Actor() = default;
  virtual Outcome run(TaskContext& task) = 0;
};

struct RegisteredActor {
  CatalogueEntry entry;
  std::unique_ptr<Actor> actor;  // null: its code is in other processes
  // Python's Dramatiq runs its tasks: no worker claims them.
  bool is_external() const { return !entry.dramatiq.empty(); }
  // In child processes of the worker, see children.h.
  bool is_hosted() const { return actor == nullptr && !is_external(); }
  // How long it may take to end after it was asked to; then its slot counts as abandoned.
  Duration stop_grace = limits::kStopGrace;
};

struct ActorOptions {
  std::string queue = "default";
  std::string version;
  std::string description;
  std::string input_schema;  // JSON Schema (draft 7); checked at submit
  std::optional<Duration> timeout;
  std::optional<int> max_attempts;
  std::optional<RetryPolicy> retry;
  size_t concurrency = 0;  // of one worker; 0: as many as there are slots
  Duration stop_grace = limits::kStopGrace;
  std::vector<std::string> aliases;
  std::string sandbox;      // see CatalogueEntry
  std::string unsandboxed;  // see CatalogueEntry
  std::string dramatiq;     // see CatalogueEntry
};

// Filled at start, then only read: safe for concurrent use from then on.
class Registry {
 public:
  // A C++ function. It returns an Outcome, or JSON text that is the result.
  void add(const std::string& type, std::function<Outcome(TaskContext&)> function,
           ActorOptions options = {});
  void add(const std::string& type, std::function<std::string(TaskContext&)> function,
           ActorOptions options = {});
  void add(const std::string& type, const std::string& kind, std::unique_ptr<Actor> actor,
           ActorOptions options = {});
  // One whose code is in child processes.
  void add_hosted(CatalogueEntry entry, Duration stop_grace = limits::kStopGrace);

  // By name or alias; null when absent.
  const RegisteredActor* find(const std::string& type) const;
  std::vector<const RegisteredActor*> all() const;  // sorted by type

 private:
  // Throws Error{invalid} for a bad or taken name.
  void insert(RegisteredActor actor);
  std::map<std::string, std::shared_ptr<RegisteredActor>> actors_;
  std::map<std::string, std::string> aliases_;
};

}  // namespace opscore
