#include "opscore/worker/canary.h"

#include <utility>

#include "opscore/model/canary.h"
#include "opscore/model/decide.h"

namespace opscore {
namespace {

// A slow disk takes a second for a commit; this is for those that never come.
constexpr Duration kPatience{10'000};
constexpr Duration kAgain{1000};
constexpr Duration kComplainEvery{5000};
constexpr Duration kOthersAgain{100};
// One whose session is gone fails after this, and is pruned as others are.
constexpr Duration kDeadline{60'000};

constexpr const char* kStates[] = {"", "flying", "arrived", "busy", "skipped", "lost"};

TaskSpec spec_of(const std::string& queue, SessionId session, TimePoint now) {
  TaskSpec spec;
  spec.type = std::string(kCanaryType);
  spec.queue = queue;
  spec.input = std::to_string(session.value);
  spec.max_attempts = 1;
  spec.options.deadline = now + kDeadline;
  return spec;
}

}  // namespace

Canary::Canary(Store& store, Runner& runner, const Clock& clock, Random& random, Log& log,
               Hints* hints)
    : store_(store), runner_(runner), clock_(clock), random_(random), log_(log), hints_(hints) {}

bool Canary::step(SessionId session) {
  try {
    // Of one that was given up the hint may come later.
    if (hints_ && stage_ == Stage::resting) hints_->dismiss(queue_);
    if (session != session_) begin(session);
    if (stage_ == Stage::resting && clock_.steady() >= again_at_) send();
    if (stage_ == Stage::sent) claim();
    if (stage_ == Stage::claimed) finish();
  } catch (const Error& error) {
    lost(error.what());
  }
  return std::exchange(has_news_, false);
}

void Canary::begin(SessionId session) {
  session_ = session;
  queue_ = canary_queue(session);
  stage_ = Stage::resting;
  again_at_ = clock_.steady();
  connection_ = 0;
  proves_ = false;
}

void Canary::send() {
  if (hints_ && !hints_->problem().empty()) return lost(hints_->problem());
  const uint64_t connection = hints_ ? hints_->connection() : 0;
  if (state_ == State::arrived && proves_ && connection == connection_) return;
  if (runner_.free() == 0) return busy();
  InsertItem item;
  item.spec = spec_of(queue_, session_, clock_.now());
  try {
    key_ = store_.tasks().insert({std::move(item)}, InsertMode::all_or_nothing).at(0).key;
  } catch (const Error& error) {
    if (error.code() != Errc::disk_low) throw;
    // It takes no task, so none of it can show anything; those that it has are run.
    again_at_ = clock_.steady() + kComplainEvery;
    proves_ = true;
    return say(State::skipped, error.message());
  }
  stage_ = Stage::sent;
  sent_at_ = clock_.steady();
  connection_ = connection;
  delivered_ = hints_ == nullptr;
  say(State::flying, "is in the store");
  if (!hints_) return;
  if (auto refusal = hints_->send_to_self({queue_, 1})) return lost(*refusal);
}

void Canary::claim() {
  const bool late = clock_.steady() - sent_at_ > kPatience;
  delivered_ = delivered_ || hints_->holds(queue_);
  if (!delivered_) {
    if (late)
      lost("the broker has taken its hint and has not delivered it within " + to_text(kPatience));
    return;
  }
  if (runner_.free() == 0) return busy();
  ClaimRequest request;
  request.session = session_;
  request.queues = {{queue_, 1}};
  request.types = std::make_shared<const std::vector<std::string>>(1, std::string(kCanaryType));
  ClaimResult result = store_.tasks().claim(request);
  if (hints_) hints_->claimed(request.queues, result, false);
  for (ClaimedTask& task : result.tasks) {
    if (task.key != key_) {
      leave_to_its_owner(task);
      continue;
    }
    stage_ = Stage::claimed;
    runner_.start({std::move(task)});
  }
  if (stage_ == Stage::sent && late)
    lost("the store has it, and does not give it to its session for " + to_text(kPatience));
}

// Sessions share queues. What nobody owns any more is found here, too, until its deadline.
void Canary::leave_to_its_owner(const ClaimedTask& task) {
  const Outcome outcome = Outcome::snooze(kOthersAgain, "it is another session's");
  store_.tasks().apply({decide_finish(task, outcome, TimePoint{}, clock_.now(), random_)});
}

void Canary::finish() {
  std::string problem;
  {
    MutexLock lock(mutex_);
    if (ended_key_ != key_) {
      if (clock_.steady() - sent_at_ <= kPatience) return;
      problem = "it was given to a slot and has not ended within " + to_text(kPatience);
    } else {
      problem = end_problem_;
    }
  }
  if (!problem.empty()) return lost(problem);
  store_.tasks().remove(std::span(&key_, 1));
  stage_ = Stage::resting;
  proves_ = true;
  say(State::arrived,
      fmt::format("store{}, intake, claim, slot and finish took {}", hints_ ? ", broker" : "",
                  to_text(std::chrono::duration_cast<Duration>(clock_.steady() - sent_at_))));
}

// What is running shows that this worker works.
void Canary::busy() {
  withdraw();
  again_at_ = clock_.steady() + kAgain;
  proves_ = true;
  say(State::busy, "all slots are taken");
}

void Canary::lost(const std::string& why) {
  withdraw();
  again_at_ = clock_.steady() + kAgain;
  say(State::lost, why);
  // Whoever has shown that it works says once what is the matter.
  if (clock_.steady() >= complain_at_ && (!proves_ || has_news_)) {
    complain_at_ = clock_.steady() + kComplainEvery;
    log_.warn("{}: the canary of session {} did not get through: {}; trying again",
              proves_ ? "consuming" : "connecting", session_.value, why);
  }
}

void Canary::withdraw() {
  if (std::exchange(stage_, Stage::resting) == Stage::resting) return;
  try {
    store_.tasks().remove(std::span(&key_, 1));
  } catch (const Error& error) {
    log_.debug("the canary of session {} stays until its deadline: {}", session_.value,
               error.what());
  }
}

void Canary::ended(const ClaimedTask& task, const Outcome& outcome, Applied applied) {
  MutexLock lock(mutex_);
  ended_key_ = task.key;
  end_problem_.clear();
  if (applied == Applied::lease_lost)
    end_problem_ = "somebody else ended it before its finish was written";
  else if (outcome.kind != Outcome::Kind::completed)
    end_problem_ = "it was not run: " + outcome.error.message;
}

void Canary::say(State state, std::string words) {
  if (state == State::arrived && state_ != State::arrived)
    log_.info("consuming: the canary got through: {}", words);
  state_ = state;
  MutexLock lock(mutex_);
  if (state != State::flying && words != report_.words) has_news_ = true;
  report_ = {kStates[static_cast<size_t>(state)], std::move(words), clock_.now()};
}

SessionReport::Canary Canary::report() const {
  MutexLock lock(mutex_);
  return report_;
}

}  // namespace opscore
