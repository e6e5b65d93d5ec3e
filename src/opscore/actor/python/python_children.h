#pragma once
// Python interpreters as children: started, replaced when they end, have grown too large or have
// run enough, and stopped. One thread owns them all, and they die with it.

#include <atomic>
#include <memory>

#include "opscore/actor/python/python_child.h"
#include "opscore/base/thread.h"
#include "opscore/model/fleet.h"

namespace opscore {

class PythonChildren final : public Children {
 public:
  // All must outlive it. Throws Error{unavailable}.
  PythonChildren(Reaper& reaper, Log& log, PythonOptions options);
  ~PythonChildren() override;

  // Starts the interpreters, and returns once the first of them can run tasks. Throws
  // Error{invalid} with the trace when a module cannot be imported, and Error{cancelled} once
  // `gives_up`, which is asked again and again, says so. Once.
  void start(const std::function<bool()>& gives_up = [] { return false; });
  // What the interpreters that have come last can run.
  std::vector<CatalogueEntry> actors() const;
  // Ends them: those that have nothing to do at once, the others when they take too long.
  void stop();
  // Every interpreter is replaced by one that has imported anew; what runs ends where it is. When
  // the new ones cannot import, the old ones stay, and the log says why.
  void reload();
  // "Python 3.11.2 at /usr/bin/python3", as the first of them said.
  std::string words() const;
  // What the interpreter that came last is: JSON, with executable, version, prefix, path, packages,
  // slow_imports_ms.
  std::string surroundings() const;

  void listen(ChildListener* listener) override;
  void run(ChildId child, const std::vector<HostedTask>& tasks) override;
  void stop(ChildId child, uint64_t number, HostedStop why) override;
  void take_back(ChildId child, uint64_t number) override;
  void reply(ChildId child, uint64_t call, const StepReply& reply) override;
  void kill(ChildId child, const std::string& why) override;
  void let_go(ChildId child) override;
  std::vector<HostedEntry> entered(ChildId child) const override;

 private:
  using Child = std::shared_ptr<PythonChild>;
  // Where a child is, and where another takes its place.
  struct Place {
    Child current;  // null: its next one is being waited for
    Child next;     // imports, to replace it
    SteadyPoint start_at{};
    int failures = 0;       // in a row
    bool outdated = false;  // its modules have changed since the newest of them was started
  };
  struct Order {
    ChildId child;
    bool kill;  // else: let it go
    std::string why;
  };

  void serve(std::stop_token stop);
  void follow_orders();
  void start_missing();
  void renew_all();
  void renew_outdated();
  void start_child(Place& place, size_t index, Child& into);
  void wait_for_news();
  void attend(const Child& child);
  void heard(const Child& child, ChildSpeech speech);
  void greet(const Child& child, const std::string& hello);
  void note_actors(std::vector<CatalogueEntry> actors, std::string words, std::string surroundings);
  void look_at_sizes();
  void look_at_files();
  void replace(Place& place, size_t index);
  void buried(const Child& child, ChildEnd end);
  void end_all();
  std::vector<Child> all() const;
  Child find(ChildId id) const;
  void send(ChildId id, const std::string& frame);
  void wake() const;
  // False: nobody listens.
  bool tell(const std::function<void(ChildListener&)>& call);
  void refuse(std::string words);

  Reaper& reaper_;
  Log& log_;
  const PythonOptions options_;
  FileDescriptor package_;
  FileDescriptor wake_;
  // Of the serving thread.
  std::vector<Place> places_;
  SteadyPoint look_at_sizes_at_{};
  std::optional<FolderWatch> watch_;
  std::optional<SteadyPoint> reload_at_;  // files have changed: once that is over
  ChildId next_id_ = 1;

  mutable Mutex mutex_;
  ConditionVariable changed_;
  std::map<ChildId, Child> children_ OPSCORE_GUARDED_BY(mutex_);
  std::vector<Order> orders_ OPSCORE_GUARDED_BY(mutex_);
  bool reload_ OPSCORE_GUARDED_BY(mutex_) = false;
  bool announce_ OPSCORE_GUARDED_BY(mutex_) = false;  // to a new listener, what is ready
  std::optional<std::vector<CatalogueEntry>> actors_ OPSCORE_GUARDED_BY(mutex_);
  std::optional<std::string> refusal_ OPSCORE_GUARDED_BY(mutex_);
  std::string words_ OPSCORE_GUARDED_BY(mutex_);
  std::string surroundings_ OPSCORE_GUARDED_BY(mutex_) = "{}";

  Mutex listener_mutex_;  // held during calls
  ChildListener* listener_ OPSCORE_GUARDED_BY(listener_mutex_) = nullptr;
  std::jthread thread_;
};

}  // namespace opscore
