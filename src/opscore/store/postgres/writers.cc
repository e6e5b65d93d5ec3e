#include "opscore/store/postgres/writers.h"

#include <fmt/format.h>

#include <algorithm>

namespace opscore::postgres {
namespace {

constexpr Statement kNewWriter{"new_writer", "INSERT INTO writers(number) VALUES(0) RETURNING id"};
// Waits for the transaction that may still be committing. When it has not marked its commit, it
// never will: it no longer finds the number that it expects, and fails.
constexpr Statement kFence{"fence",
                           "UPDATE writers SET number = number + 2 WHERE id = $1::bigint AND "
                           "number = $2::bigint"};
constexpr Statement kReadMark{"read_mark", "SELECT number FROM writers WHERE id = $1::bigint"};
constexpr Statement kForgetWriter{"forget_writer", "DELETE FROM writers WHERE id = $1::bigint"};

constexpr const char* kDivisionByZero = "22012";
constexpr int kAttempts = 20;
constexpr int kLockShare = 4;  // of the timeout, so that others are served in time

WritersOptions in_time_for_others(WritersOptions options) {
  options.connect.lock_timeout = options.connect.timeout / kLockShare;
  return options;
}

}  // namespace

struct Writers::Job {
  const char* what;
  Shared* shared = nullptr;
  void* task = nullptr;
  const std::function<void(Transaction&)>* alone = nullptr;
  const Recall* recall = nullptr;
  size_t items = 1;
  Deadline deadline;
  enum class State : uint8_t { waiting, taken, done } state = State::waiting;
  std::exception_ptr error;
  ConditionVariable changed;

  bool goes_with(const Job& other) const { return shared != nullptr && shared == other.shared; }
  void fail(const Error& why) {
    const auto* failure = dynamic_cast<const Failure*>(&why);
    error = failure == nullptr ? std::make_exception_ptr(why)
                               : std::make_exception_ptr(failure->with_context(what));
  }
};

std::vector<void*> Writers::tasks_of(const std::vector<Job*>& batch) {
  std::vector<void*> tasks;
  for (const Job* job : batch) tasks.push_back(job->task);
  return tasks;
}

Writers::Writers(const Clock& clock, Random& random, Log& log, Feed& feed, WritersOptions options)
    : clock_(clock), log_(log), feed_(feed), options_(in_time_for_others(std::move(options))) {
  for (size_t i = 0; i < std::max<size_t>(options_.connections, 1); ++i)
    slots_.emplace_back(random);
}

Writers::~Writers() {
  for (Slot& slot : slots_) {
    if (slot.mark.writer == 0 || !slot.connection || !slot.connection->usable()) continue;
    try {
      slot.connection->query(kForgetWriter, Parameters::of(slot.mark.writer));
    } catch (const Error& error) {
      log_.debug("forget a write connection: {}", error.what());
    }
  }
}

void Writers::run(const char* what, const std::function<void(Transaction&)>& work,
                  const Recall& recall) {
  Job job{.what = what,
          .alone = &work,
          .recall = &recall,
          .deadline = Deadline::after(options_.connect.timeout)};
  wait_for(job);
}

void Writers::run_shared(const char* what, Shared& work, void* task, size_t items) {
  Job job{.what = what,
          .shared = &work,
          .task = task,
          .items = items,
          .deadline = Deadline::after(options_.connect.timeout)};
  wait_for(job);
}

void Writers::wait_for(Job& job) {
  MutexLock lock(mutex_);
  waiting_.push_back(&job);
  while (job.state != Job::State::done) {
    auto free = std::ranges::find(slots_, false, &Slot::taken);
    if (job.state == Job::State::waiting && free != slots_.end()) {
      free->taken = true;
      auto batch = take_batch();
      if (!waiting_.empty()) waiting_.front()->changed.notify_one();  // there may be another slot
      lock.unlock();
      lead(*free, batch);
      lock.lock();
      continue;
    }
    if (job.state == Job::State::taken) {
      job.changed.wait(lock);
    } else if (job.deadline.passed()) {
      std::erase(waiting_, &job);
      throw Error(Errc::unavailable,
                  fmt::format("{}: no connection to PostgreSQL came free in time; nothing happened",
                              job.what));
    } else {
      job.changed.wait_for(lock, job.deadline.left());
    }
  }
  if (job.error) std::rethrow_exception(job.error);
}

// The oldest job and what goes with it. Call it when something waits.
std::vector<Writers::Job*> Writers::take_batch() {
  std::vector<Job*> batch;
  size_t items = 0;
  for (auto job = waiting_.begin(); job != waiting_.end() && items < options_.batch;) {
    if (batch.empty() || batch.front()->goes_with(**job)) {
      (*job)->state = Job::State::taken;
      items += (*job)->items;
      batch.push_back(*job);
      job = waiting_.erase(job);
    } else {
      ++job;
    }
  }
  return batch;
}

void Writers::lead(Slot& slot, const std::vector<Job*>& batch) {
  // Whatever happens, nobody waits for ever.
  struct Release {
    Writers& writers;
    Slot& slot;
    const std::vector<Job*>& batch;
    bool performed = false;
    ~Release() {
      MutexLock lock(writers.mutex_);
      slot.taken = false;
      for (Job* job : batch) {
        if (!performed) job->fail(Error(Errc::internal, fmt::format("{}: failed", job->what)));
        job->state = Job::State::done;
        job->changed.notify_one();
      }
      if (!writers.waiting_.empty()) writers.waiting_.front()->changed.notify_one();
    }
  } release{*this, slot, batch};
  perform(slot, batch);
  release.performed = true;
}

void Writers::perform(Slot& slot, const std::vector<Job*>& batch) {
  try {
    attempt(slot, batch, batch.front()->deadline);
  } catch (const Error& error) {
    const bool apart = batch.size() > 1 && may_concern_one(error);
    for (Job* job : batch)
      if (!apart)
        job->fail(error);
      else if (job->deadline.passed())
        job->fail(no_time_to_try(error));
      else
        perform(slot, {job});
  }
}

void Writers::act(Transaction& transaction, const std::vector<Job*>& batch) {
  Job& first = *batch.front();
  if (first.shared == nullptr) return (*first.alone)(transaction);
  first.shared->act(transaction, tasks_of(batch));
}

void Writers::recall(Slot& slot, const std::vector<Job*>& batch) {
  Job& first = *batch.front();
  Mark mark{slot.mark.writer, slot.mark.number + 1};
  if (first.shared != nullptr)
    first.shared->recall(*slot.connection, mark, tasks_of(batch));
  else if (*first.recall)
    (*first.recall)(*slot.connection, mark);
}

void Writers::attempt(Slot& slot, const std::vector<Job*>& batch, Deadline deadline) {
  for (int tries = 1;; ++tries) {
    connect(slot, deadline);
    Transaction transaction(*slot.connection, {slot.mark.writer, slot.mark.number + 1},
                            options_.transaction, clock_.now(), tries > 1);
    bool acted = false;  // and knows what came of it
    try {
      act(transaction, batch);
      acted = true;
      transaction.commit();
      slot.mark.number += transaction.marked();
      slot.backoff.reset();
      transactions_.fetch_add(1, std::memory_order_relaxed);
      feed_.publish(transaction.take_effects());
      return;
    } catch (const Failure& failure) {
      if (failure.kind() == Failure::Kind::lost) {
        // What comes next is that nobody listens there, which does not say why.
        if (!failure.state().empty()) log_.warn("a connection was ended: {}", failure.what());
        transaction.forget_connection();
        slot.connection.reset();
        if (transaction.commit_sent() && committed(slot, deadline, acted ? nullptr : &batch)) {
          feed_.publish(transaction.take_effects());
          return;
        }
        if (deadline.passed()) throw;
        slot.backoff.wait(deadline);
        continue;
      }
      transaction.rollback();
      if (failure.state() == kDivisionByZero) slot.mark = {};  // its row is gone: see kMark
      if (failure.kind() == Failure::Kind::refused || tries == kAttempts) throw;
    } catch (const Error&) {
      transaction.rollback();
      throw;
    }
  }
}

void Writers::connect(Slot& slot, Deadline deadline) {
  while (!slot.connection || !slot.connection->usable() || slot.mark.writer == 0) {
    try {
      if (slot.connection && slot.connection->usable())
        slot.mark = {slot.connection->query(kNewWriter).integer(0, 0), 0};
      else
        slot.connection = std::make_unique<Connection>(options_.connect, deadline);
    } catch (const Failure& failure) {
      slot.connection.reset();
      if (failure.kind() != Failure::Kind::lost || deadline.passed()) throw;
      slot.backoff.wait(deadline);
    }
  }
}

// Whether the transaction whose COMMIT nobody answered is there. If so, and the batch does not know
// what it did, it is told.
bool Writers::committed(Slot& slot, Deadline deadline, const std::vector<Job*>* unanswered) {
  for (;;) {
    try {
      connect(slot, deadline);
      slot.connection->query(kFence, Parameters::of(slot.mark.writer, slot.mark.number));
      Rows rows = slot.connection->query(kReadMark, Parameters::of(slot.mark.writer));
      bool happened = rows.size() == 1 && rows.integer(0, 0) == slot.mark.number + 1;
      log_.info("a connection to PostgreSQL was cut during COMMIT; the transaction {}",
                happened ? "had happened" : "had not happened and is done again");
      if (happened && unanswered != nullptr) recall(slot, *unanswered);
      slot.mark.number += happened ? 1 : 2;
      return happened;
    } catch (const Failure& failure) {
      slot.connection.reset();
      const bool still_committing = failure.state() == kLockTimeout;
      if ((failure.kind() == Failure::Kind::lost || still_committing) && !deadline.passed()) {
        slot.backoff.wait(deadline);
        continue;
      }
      slot.mark = {};  // so that nobody takes the old commit for a new one
      throw Failure(failure.kind(), Errc::unavailable,
                    fmt::format("the connection was cut during COMMIT, and whether it happened "
                                "could not be read back: {}",
                                failure.what()));
    }
  }
}

}  // namespace opscore::postgres
