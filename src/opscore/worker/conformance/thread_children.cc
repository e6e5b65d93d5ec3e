#include "opscore/worker/conformance/thread_children.h"

#include <algorithm>
#include <future>

#include "opscore/model/error_kind.h"

namespace opscore {
namespace {

struct Work {
  uint64_t number;
  std::string type, id, input;
  int attempt;
  Duration timeout;
};

Work work_of(const HostedTask& task) {
  return {task.number, task.type, task.id, task.task.input, task.task.live.attempt, task.timeout};
}

}  // namespace

class ThreadChildren::Child : public std::enable_shared_from_this<Child> {
 public:
  Child(ThreadChildren& owner, ChildId id, size_t slots)
      : owner_(owner), id_(id), slots_(slots), taken_(slots) {}
  ~Child() {
    {
      MutexLock lock(mutex_);
      ending_ = true;
    }
    changed_.notify_all();
  }

  void start() {
    for (size_t slot = 0; slot < slots_; ++slot)
      threads_.emplace_back([this, slot] { work(slot); });
  }

  void take(const std::vector<HostedTask>& tasks) {
    {
      MutexLock lock(mutex_);
      for (const HostedTask& task : tasks) todo_.push_back(work_of(task));
    }
    changed_.notify_all();
  }

  bool drop(uint64_t number) {
    {
      MutexLock lock(mutex_);
      auto found = std::ranges::find(todo_, number, &Work::number);
      if (found == todo_.end()) return false;
      todo_.erase(found);
    }
    ChildNews news;
    news.dropped.push_back(number);
    say(std::move(news));
    return true;
  }

  void stop(uint64_t number) {
    if (drop(number)) return;
    MutexLock lock(mutex_);
    for (Slot& slot : taken_)
      if (slot.entry && slot.entry->number == number) slot.stop.request_stop();
  }

  void say(ChildNews news) {
    auto shared = std::make_shared<ChildNews>(std::move(news));
    owner_.post([id = id_, shared](ChildListener& to) { to.heard(id, std::move(*shared)); });
  }

  StepReply ask(ChildNews::Step step) {
    std::future<StepReply> answer;
    {
      MutexLock lock(mutex_);
      answer = replies_[step.call].get_future();
    }
    ChildNews news;
    news.steps.push_back(std::move(step));
    say(std::move(news));
    return answer.get();
  }

  void reply(uint64_t call, const StepReply& reply) {
    MutexLock lock(mutex_);
    if (auto found = replies_.extract(call)) found.mapped().set_value(reply);
  }

  void let_go() {
    MutexLock lock(mutex_);
    is_lost_ = true;
  }

  // Nothing of what it does from now on is heard.
  std::vector<HostedEntry> lose() {
    let_go();
    return entered();
  }

  std::vector<HostedEntry> entered() const {
    MutexLock lock(mutex_);
    std::vector<HostedEntry> entries;
    for (const Slot& slot : taken_)
      if (slot.entry) entries.push_back(*slot.entry);
    return entries;
  }

  ChildId id() const { return id_; }
  size_t slots() const { return slots_; }

 private:
  class Context;
  struct Slot {
    std::optional<HostedEntry> entry;
    std::stop_source stop;
  };

  void work(size_t slot);
  Outcome call(const Work& work, size_t slot);

  ThreadChildren& owner_;
  const ChildId id_;
  const size_t slots_;
  mutable Mutex mutex_;
  ConditionVariable changed_;
  std::deque<Work> todo_ OPSCORE_GUARDED_BY(mutex_);
  std::vector<Slot> taken_ OPSCORE_GUARDED_BY(mutex_);
  std::map<uint64_t, std::promise<StepReply>> replies_ OPSCORE_GUARDED_BY(mutex_);
  bool ending_ OPSCORE_GUARDED_BY(mutex_) = false;
  bool is_lost_ OPSCORE_GUARDED_BY(mutex_) = false;
  std::vector<std::jthread> threads_;
};

class ThreadChildren::Child::Context final : public TaskContext {
 public:
  Context(Child& child, const Work& work, std::stop_token stop)
      : child_(child), work_(work), stop_(std::move(stop)) {}

  const std::string& id() const override { return work_.id; }
  const std::string& type() const override { return work_.type; }
  const std::string& input() const override { return work_.input; }
  int attempt() const override { return work_.attempt; }
  std::stop_token stop() const override { return stop_; }
  Deadline deadline() const override { return Deadline::after(work_.timeout); }
  const Clock& clock() const override { return child_.owner_.clock_; }
  void progress(std::string json) override {
    ChildNews news;
    news.progress.push_back({work_.number, std::move(json)});
    child_.say(std::move(news));
  }
  void log(LogLevel level, std::string_view line) override {
    ChildNews news;
    news.lines.push_back({work_.number, level, std::string(line)});
    child_.say(std::move(news));
  }
  void notice(Notice) override {}
  std::string step(const std::string& kind, const std::string& name, const std::string& request,
                   const std::function<std::string()>& action) override {
    // One step at a time, so the task's number tells its calls apart.
    ChildNews::Step step{work_.number, work_.number, kind, name, request, {}, Duration(0)};
    StepReply reply = child_.ask(step);
    if (reply.kind == StepReply::Kind::run) {
      step.answer = action();
      reply = child_.ask(step);
    }
    if (reply.kind == StepReply::Kind::mismatch) throw JournalMismatch(reply.answer);
    if (reply.kind == StepReply::Kind::refused) throw Error(Errc::unavailable, reply.answer);
    if (reply.kind == StepReply::Kind::failed) throw std::runtime_error(reply.answer);
    return reply.answer;
  }

 private:
  Child& child_;
  const Work& work_;
  const std::stop_token stop_;
};

void ThreadChildren::Child::work(size_t index) {
  while (true) {
    MutexLock lock(mutex_);
    changed_.wait(lock, [this]() OPSCORE_REQUIRES(mutex_) { return ending_ || !todo_.empty(); });
    if (ending_) return;
    const Work work = std::move(todo_.front());
    todo_.pop_front();
    const SteadyPoint began = owner_.clock_.steady();
    taken_[index].entry = HostedEntry{work.number, index, began};
    taken_[index].stop = std::stop_source();
    lock.unlock();
    Outcome outcome = call(work, index);
    const SteadyPoint left = owner_.clock_.steady();
    lock.lock();
    taken_[index].entry.reset();
    const bool is_lost = is_lost_;
    lock.unlock();
    if (is_lost) continue;
    ChildNews news;
    news.ends.push_back({work.number, began, left, std::move(outcome)});
    say(std::move(news));
  }
}

// What an interpreter makes of exceptions.
Outcome ThreadChildren::Child::call(const Work& work, size_t slot) {
  std::stop_token stop;
  {
    MutexLock lock(mutex_);
    stop = taken_[slot].stop.get_token();
  }
  Context context(*this, work, stop);
  auto failure = [](const char* kind, const std::string& words, bool retryable) {
    return Outcome::fail({kind, words, {}}, retryable);
  };
  try {
    return owner_.actors_->find(work.type)->actor->run(context);
  } catch (const JournalMismatch& mismatch) {
    return failure(error_kind::kJournalMismatch, mismatch.what(), false);
  } catch (const Error& error) {
    return failure(error_kind::kActorError, error.what(), error.retryable());
  } catch (const std::exception& error) {
    return failure(error_kind::kActorError, error.what(), true);
  } catch (...) {
    return failure(error_kind::kActorError, "not an exception", true);
  }
}

ThreadChildren::ThreadChildren(std::shared_ptr<const Registry> actors, const Clock& clock,
                               size_t count, size_t slots)
    : actors_(std::move(actors)), clock_(clock), events_thread_([this] { deliver(); }) {
  for (size_t i = 0; i < count; ++i) add_child(slots / count + (i < slots % count ? 1 : 0));
}

ThreadChildren::~ThreadChildren() {
  std::map<ChildId, std::shared_ptr<Child>> children;
  std::vector<std::shared_ptr<Child>> lost;
  {
    MutexLock lock(mutex_);
    children.swap(children_);
    lost.swap(lost_);
  }
  children.clear();
  lost.clear();
  {
    MutexLock lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
}

void ThreadChildren::add_child(size_t slots) {
  if (slots == 0) return;
  std::shared_ptr<Child> child;
  {
    MutexLock lock(mutex_);
    child = std::make_shared<Child>(*this, next_id_++, slots);
    children_[child->id()] = child;
  }
  child->start();
  post([id = child->id(), slots](ChildListener& to) { to.ready(id, slots); });
}

std::shared_ptr<ThreadChildren::Child> ThreadChildren::find(ChildId id) const {
  MutexLock lock(mutex_);
  auto found = children_.find(id);
  return found == children_.end() ? nullptr : found->second;
}

void ThreadChildren::post(Event event) {
  {
    MutexLock lock(mutex_);
    events_.push_back(std::move(event));
  }
  changed_.notify_all();
}

void ThreadChildren::deliver() {
  while (true) {
    Event event;
    {
      MutexLock lock(mutex_);
      changed_.wait(lock,
                    [this]() OPSCORE_REQUIRES(mutex_) { return ending_ || !events_.empty(); });
      if (ending_) return;
      event = std::move(events_.front());
      events_.pop_front();
    }
    MutexLock lock(listener_mutex_);
    if (listener_) event(*listener_);
  }
}

void ThreadChildren::listen(ChildListener* listener) {
  {
    MutexLock lock(listener_mutex_);
    listener_ = listener;
  }
  std::vector<std::shared_ptr<Child>> now;
  {
    MutexLock lock(mutex_);
    for (const auto& [id, child] : children_) now.push_back(child);
  }
  for (const auto& child : now)
    post([id = child->id(), slots = child->slots()](ChildListener& to) { to.ready(id, slots); });
}

void ThreadChildren::run(ChildId child, const std::vector<HostedTask>& tasks) {
  if (auto found = find(child)) found->take(tasks);
}

void ThreadChildren::stop(ChildId child, uint64_t number, HostedStop) {
  if (auto found = find(child)) found->stop(number);
}

void ThreadChildren::take_back(ChildId child, uint64_t number) {
  if (auto found = find(child)) found->drop(number);
}

void ThreadChildren::reply(ChildId child, uint64_t call, const StepReply& reply) {
  if (auto found = find(child)) found->reply(call, reply);
}

void ThreadChildren::lose(const std::shared_ptr<Child>& child, ChildEnd end) {
  end.entered = child->lose();
  {
    MutexLock lock(mutex_);
    if (children_.erase(child->id()) == 0) return;
    lost_.push_back(child);
  }
  auto shared = std::make_shared<ChildEnd>(std::move(end));
  post([id = child->id(), shared](ChildListener& to) { to.ended(id, std::move(*shared)); });
  add_child(child->slots());
}

void ThreadChildren::kill(ChildId child, const std::string& why) {
  ChildEnd end;
  end.why = ChildEnd::Why::killed;
  end.words = "child killed: " + why;
  if (auto found = find(child)) lose(found, std::move(end));
}

void ThreadChildren::let_go(ChildId child) {
  if (auto found = find(child)) lose(found, ChildEnd());
}

void ThreadChildren::end(uint64_t number, ChildEnd::Why why, std::optional<uint64_t> blamed) {
  std::vector<std::shared_ptr<Child>> now;
  {
    MutexLock lock(mutex_);
    for (const auto& [id, child] : children_) now.push_back(child);
  }
  for (const auto& child : now) {
    auto entries = child->entered();
    if (std::ranges::find(entries, number, &HostedEntry::number) == entries.end()) continue;
    lose(child, {why, "child died", "its stack", {}, blamed});
  }
}

void ThreadChildren::retire_all() {
  MutexLock lock(mutex_);
  for (const auto& [id, child] : children_)
    events_.push_back([id](ChildListener& to) { to.retiring(id); });
  changed_.notify_all();
}

std::vector<HostedEntry> ThreadChildren::entered(ChildId child) const {
  auto found = find(child);
  return found ? found->entered() : std::vector<HostedEntry>{};
}

}  // namespace opscore
