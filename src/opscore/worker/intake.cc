#include "opscore/worker/intake.h"

#include <algorithm>

#include "opscore/model/decide.h"
#include "opscore/model/error_kind.h"
#include "opscore/worker/presence.h"

namespace opscore {
namespace {

// However quiet it is, look again this often: bounds what a lost wake-up can cost.
constexpr Duration kWaitMax{500};
constexpr Duration kWaitRestricted{50};
// What has just been started is reported this soon, so that people see it running.
constexpr Duration kReportSoon{200};
// A worker whose slots are taken keeps its hints for so long: one may come free at any moment.
constexpr Duration kKeepHints{100};
// While a canary is under way, which takes it milliseconds.
constexpr Duration kLookAtCanary{5};
// Between two looks at a task whose row is damaged.
constexpr Duration kDamagedAgain{60'000};
// A wall clock that is off by more has jumped.
constexpr Duration kJump{1000};

}  // namespace

Intake::Intake(Store& store, Runner& runner, const Clock& clock, Random& random, Log& log,
               IntakeOptions options)
    : store_(store),
      runner_(runner),
      clock_(clock),
      random_(random),
      log_(log),
      options_(std::move(options)),
      shares_(options_.queues),
      loop_("intake", log, [this](std::stop_token stop) { return tick(stop); }) {
  if (options_.sends_canaries)
    canary_.emplace(store_, runner_, clock_, random_, log_, options_.hints);
}

Intake::~Intake() {
  stop();
}

void Intake::stop() {
  store_.changes().interrupt();
  room();
  loop_.stop();
}

std::string Intake::state() const {
  if (draining_) return "draining";
  return consuming_ ? "consuming" : session() ? "connecting" : "starting";
}

std::string Intake::why_not_consuming() const {
  if (told_) return {};
  if (!session()) return "no session could be opened in the store yet";
  if (canary_) {
    const SessionReport::Canary canary = canary_->report();
    if (canary.state == "flying" || canary.state == "lost") return "its canary: " + canary.words;
    if (canary.state.empty()) return "no canary was sent yet";
  }
  const std::string why = options_.unready();
  return why.empty() ? "it has not said so in the store yet" : why;
}

void Intake::canary_ended(const ClaimedTask& task, const Outcome& outcome, Applied applied) {
  if (!canary_) return;
  canary_->ended(task, outcome, applied);
  store_.changes().interrupt();
}

void Intake::open() {
  position_ = store_.changes().position();
  // What can fail comes before there is a session: afterwards nobody would look again.
  for (const QueueStats& queue : store_.reader().queues()) shares_.see(queue.name);
  session_ = store_.fleet().open_session(options_.session_name, options_.session_context).value;
  renew_at_ = clock_.steady();
  consuming_ = told_ = described_ = false;
  for (const auto& [queue, weight] : options_.queues)
    if (queue != "*") shares_.see(queue);
  if (options_.hints) options_.hints->look_everywhere();
  if (options_.on_session) options_.on_session(session());
}

void Intake::describe() {
  if (!options_.describe || described_.exchange(true)) return;
  try {
    store_.fleet().describe(session(), options_.describe());
  } catch (const Error&) {
    described_ = false;
    throw;
  }
}

void Intake::renew() {
  describe();
  SessionReport report;
  report.state = state();
  report.queues = shares_.names();
  if (options_.queues.contains("*")) report.queues.push_back("*");
  const auto types = runner_.types();
  report.types = *types;
  report.loops["intake"] = clock_.now();
  if (options_.hints) report.broker = options_.hints->report();
  if (canary_) report.canary = canary_->report();
  runner_.fill(report);
  options_.complete(report);
  RenewReply reply = store_.fleet().renew(session(), report);
  renew_at_ = clock_.steady() + limits::kRenewEvery;
  if (reply.lost) return lose_session();
  runner_.set_concurrency(std::move(reply.actor_concurrency));
  for (const Lease& lease : reply.cancels) runner_.stop(lease, StopReason::cancel);
  // Whoever asked for a report wants one of what the worker is now.
  if (runner_.types() != types) renew();
  for (const std::string& command : reply.commands)
    if (command != kLookCommand)
      options_.on_command(command);
    else if (options_.hints)
      options_.hints->look_everywhere();
}

void Intake::lose_session() {
  log_.error(
      "session {} was ended by somebody else: its tasks are stopped and their outcomes "
      "dropped; opening a new one",
      session().value);
  runner_.stop_all(StopReason::session_lost);
  if (options_.on_lost) options_.on_lost(session());
  session_ = 0;
  unanswered_claim_.reset();
}

ClaimResult Intake::claim(std::vector<ClaimRequest::FromQueue> queues, Duration patience) {
  ClaimRequest request;
  request.session = session();
  request.queues = std::move(queues);
  request.types = runner_.types();
  restriction_waits_ = true;  // before looking, so that no end after it goes unnoticed
  request.room = runner_.room();
  request.suspects = options_.suspects() == 0 ? 1 : 0;
  restricted_ = request.suspects == 0 ||
                std::any_of(request.room.begin(), request.room.end(),
                            [](const ClaimRequest::Room& room) { return room.max == 0; });
  restriction_waits_ = restricted_;
  // A claim that waits would not notice that there is room again.
  request.patience = restricted_ ? Duration(0) : patience;
  if (request.queues.empty()) {
    next_due_at_.reset();
    return {};
  }
  if (!unanswered_claim_) unanswered_claim_ = {clock_.now(), clock_.steady()};
  ClaimResult result = store_.tasks().claim(request);
  unanswered_claim_.reset();
  next_due_at_ = result.next_due_at;
  return result;
}

void Intake::hand_over(std::vector<ClaimedTask> tasks) {
  if (tasks.empty()) return;
  auto damaged = std::ranges::stable_partition(
      tasks, [](const ClaimedTask& task) { return task.problem.empty(); });
  std::vector<ClaimedTask> aside(std::make_move_iterator(damaged.begin()),
                                 std::make_move_iterator(damaged.end()));
  tasks.erase(damaged.begin(), damaged.end());
  if (!tasks.empty()) runner_.start(std::move(tasks));
  renew_at_ = std::min(renew_at_, clock_.steady() + kReportSoon);
  if (!aside.empty()) set_aside(aside);
}

// They come back later: somebody may have repaired them by then, or a newer worker can read them.
void Intake::set_aside(std::span<const ClaimedTask> damaged) {
  std::vector<Plan> plans;
  for (const ClaimedTask& task : damaged) {
    log_.error("task {} cannot be run, its row is damaged: {}", store_.id_of(task), task.problem);
    Outcome outcome = Outcome::snooze(kDamagedAgain, task.problem);
    outcome.error.kind = error_kind::kCorrupt;
    plans.push_back(decide_finish(task, outcome, TimePoint{}, clock_.now(), random_));
  }
  store_.tasks().apply(std::move(plans));
}

// Before the next claim, tasks of this session that were claimed since, and that the runner has
// never seen, go back. What was claimed earlier is older than that, so a task that is on its way
// from the runner to the finisher is not touched.
void Intake::hand_back_unknown() {
  const TimePoint now = clock_.now();
  const auto asked_ago = std::chrono::ceil<Duration>(clock_.steady() - unanswered_claim_->steady);
  const TimePoint asked_at = unanswered_claim_->at;
  // If the clock has stepped back since, what the claim took is dated before the step, or after it.
  const bool stepped_back = now - asked_ago + kJump < asked_at;
  auto claimed_since = [&](TimePoint at) {
    return at >= asked_at || (stepped_back && at >= now - asked_ago && at <= now + kJump);
  };
  TaskFilter running;
  running.states = StateSet(State::running);
  std::optional<TaskKey> before;
  do {
    TaskPage page = store_.reader().list(running, before, limits::kClaimBatch);
    std::vector<Plan> plans;
    for (const Task& task : page.tasks) {
      Lease lease{task.key, task.live.attempt};
      if (task.live.session != session() || !claimed_since(task.live.claimed_at) ||
          runner_.holds(lease))
        continue;
      plans.push_back(decide_loss(task.key, task.live, task.options, Loss::not_entered,
                                  "the answer to the claim was lost", now, random_));
    }
    if (!plans.empty()) store_.tasks().apply(std::move(plans));
    before = page.next;
  } while (before);
  unanswered_claim_.reset();
}

Duration Intake::step(bool patient) {
  options_.on_progress();
  if (!session()) open();
  if (clock_.steady() >= renew_at_) renew();
  if (!session()) return Duration(0);
  runner_.hand_back_unstarted(draining_ ? Duration(0) : limits::kUnstarted);
  wait_for_ = Wait::work;
  if (draining_) {
    if (options_.hints) options_.hints->rest(Duration(0));
    return kWaitMax;
  }

  // What happens from here on must wake the wait that follows.
  follow(store_.changes().wait(position_, Changes::Interest::work, Deadline::at({})));
  if (unanswered_claim_) hand_back_unknown();
  size_t appetite = std::min(runner_.appetite(limits::kClaimAhead), limits::kClaimBatch);
  if (appetite == 0) {
    wait_for_ = Wait::room;
    say_that_it_consumes();
    if (!options_.hints) return until_next(clock_.now());
    options_.hints->rest(kKeepHints);
    return std::min(until_next(clock_.now()), kKeepHints);
  }
  bool hinted = options_.hints && options_.hints->listen(shares_.names());
  return hinted ? follow_hints(appetite, patient) : look_for_work(appetite, patient);
}

void Intake::follow(ChangeBatch news) {
  for (const std::string& queue : news.queues) shares_.see(queue);
  if (news.reset)
    for (const QueueStats& queue : store_.reader().queues()) shares_.see(queue.name);
  position_ = news.position;  // only now: news that could not be followed up are news again
  if (std::find(news.sessions.begin(), news.sessions.end(), session()) != news.sessions.end())
    renew();
}

Duration Intake::look_for_work(size_t appetite, bool patient) {
  // Patient only after a claim that found nothing, which says when something will be due.
  patient = patient && !(canary_ && canary_->is_flying());
  Duration patience = patient && !found_ ? until_next(clock_.now()) : Duration(0);
  SteadyPoint asked_at = clock_.steady();
  ClaimResult result = claim(shares_.divide(appetite), patience);
  found_ = !result.tasks.empty();
  hand_over(std::move(result.tasks));
  say_that_it_consumes();
  bool waited = clock_.steady() - asked_at >= patience;  // or it was not patient yet
  return found_ || (patient && waited) ? Duration(0) : until_next(clock_.now());
}

Duration Intake::follow_hints(size_t appetite, bool patient) {
  Hints& hints = *options_.hints;
  hints.pass_on();
  hints.receive(Deadline::at({}));
  auto queues =
      shares_.divide(appetite, [&](const std::string& queue) { return hints.wanted(queue); });
  if (!queues.empty()) {
    ClaimResult result = claim(queues, Duration(0));
    hints.claimed(queues, result, restricted_);
    hand_over(std::move(result.tasks));
  }
  say_that_it_consumes();
  found_ = false;  // so that without the broker it begins by asking the store
  if (!queues.empty()) return Duration(0);
  Duration wait = std::min(hints.wait(), until_renewal());
  if (canary_ && canary_->is_flying()) wait = std::min(wait, kLookAtCanary);
  if (!patient) return std::max(wait, Duration(1));
  hints.receive(Deadline::after(wait));
  return Duration(0);
}

void Intake::say_that_it_consumes() {
  if (canary_ && canary_->step(session())) renew_at_ = clock_.steady();
  if (told_ || (canary_ && !canary_->proves()) || !options_.unready().empty()) return;
  consuming_ = true;
  renew();
  told_ = true;
}

Duration Intake::until_next(TimePoint now) const {
  Duration wait = restricted_ ? kWaitRestricted : kWaitMax;
  if (canary_ && canary_->is_flying()) wait = kLookAtCanary;
  if (next_due_at_) wait = std::min(wait, std::max(*next_due_at_ - now, Duration(0)));
  return std::max(std::min(wait, until_renewal()), Duration(1));
}

Duration Intake::until_renewal() const {
  return std::chrono::ceil<Duration>(
      std::max(renew_at_ - clock_.steady(), SteadyPoint::duration(0)));
}

Duration Intake::tick(std::stop_token stop) {
  Duration wait = step(true);
  if (wait == Duration(0) || stop.stop_requested()) return Duration(0);
  if (wait_for_ == Wait::work) {
    // Positions make this race-free: news since step() looked ends the wait at once.
    store_.changes().wait(position_, Changes::Interest::work, Deadline::after(wait));
    return Duration(0);
  }
  MutexLock lock(mutex_);
  hungry_ = true;
  if (runner_.appetite(limits::kClaimAhead) == 0)
    changed_.wait_for(lock, stop, wait, [this]() OPSCORE_REQUIRES(mutex_) { return room_; });
  hungry_ = false;
  room_ = false;
  return Duration(0);
}

void Intake::room() {
  if (restriction_waits_.exchange(false)) store_.changes().interrupt();
  if (!hungry_.exchange(false)) return;
  {
    MutexLock lock(mutex_);
    room_ = true;
  }
  changed_.notify_all();
}

void Intake::drain() {
  draining_ = true;
  store_.changes().interrupt();
  room();
}

void Intake::close(const std::string& last_words) {
  if (canary_) canary_->withdraw();
  if (session()) end_session(store_, log_, session(), last_words);
  session_ = 0;
}

}  // namespace opscore
