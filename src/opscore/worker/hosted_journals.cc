#include "opscore/worker/hosted_journals.h"

namespace opscore {
namespace {

constexpr Duration kIdle{60'000};

}  // namespace

HostedJournals::HostedJournals(Children& children, Store& store, const Clock& clock, Log& log,
                               SubmitTask submit)
    : children_(children),
      store_(store),
      clock_(clock),
      submit_(std::move(submit)),
      loop_("journals", log, [this](std::stop_token) { return tick(); }) {}

void HostedJournals::ask(ChildId child, ChildNews::Step step, const ClaimedTask& task) {
  {
    MutexLock lock(mutex_);
    auto& journal = journals_[step.number];
    if (!journal) journal = std::make_shared<Journal>(task, store_);
    asked_.push_back({child, std::move(step), journal});
  }
  loop_.wake();
}

void HostedJournals::close(uint64_t number) {
  MutexLock lock(mutex_);
  if (!journals_.empty()) journals_.erase(number);
}

StepReply HostedJournals::answer(const Asked& asked) const {
  const ChildNews::Step& step = asked.step;
  TaskJournal& steps = asked.journal->steps;
  try {
    if (!step.answer) {
      auto recorded = steps.next(step.kind, step.name, step.request);
      if (recorded) return {StepReply::Kind::recorded, *recorded};
      return step.kind == kSubmitStep ? submit(asked) : StepReply{};
    }
    steps.record(step.kind, step.name, step.request, *step.answer, clock_.now() - step.took,
                 step.took);
    return {StepReply::Kind::recorded, *step.answer};
  } catch (const JournalMismatch& mismatch) {
    return {StepReply::Kind::mismatch, mismatch.what()};
  } catch (const Error& error) {
    return {StepReply::Kind::refused, error.what()};
  }
}

// Between the submit and its record a crash is possible: then the key finds the task again.
StepReply HostedJournals::submit(const Asked& asked) const {
  const ChildNews::Step& step = asked.step;
  TaskJournal& steps = asked.journal->steps;
  const TimePoint at = clock_.now();
  const SteadyPoint began = clock_.steady();
  std::string answer;
  try {
    const std::string task = store_.id_of(asked.journal->task);
    answer = submit_(step.request, fmt::format("{}#{}", task, steps.number()));
  } catch (const Error& error) {
    steps.withdraw();
    return {error.retryable() ? StepReply::Kind::refused : StepReply::Kind::failed, error.what()};
  }
  steps.record(step.kind, step.name, step.request, answer, at,
               std::chrono::duration_cast<Duration>(clock_.steady() - began));
  return {StepReply::Kind::recorded, answer};
}

Duration HostedJournals::tick() {
  std::vector<Asked> asked;
  {
    MutexLock lock(mutex_);
    asked.swap(asked_);
  }
  for (const Asked& one : asked) children_.reply(one.child, one.step.call, answer(one));
  return asked.empty() ? kIdle : Duration(0);
}

}  // namespace opscore
