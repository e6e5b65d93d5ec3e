#include "opscore/worker/child_runner.h"

#include <algorithm>
#include <functional>

#include "opscore/model/decide.h"
#include "opscore/model/error_kind.h"

namespace opscore {
namespace {

// How often slots are looked at while something runs, and while nothing does.
constexpr Duration kWatchBusy{50};
constexpr Duration kWatchIdle{500};
// A child is sent at most so much beyond its slots.
constexpr size_t kSentAheadMax = limits::kClaimBatch;
constexpr char kNotHeeded[] =
    "the actor did not heed its stop; its process was killed, and what else ran there was handed "
    "back";

HostedStop hosted_stop(Stopping why) {
  if (why == Stopping::timeout) return HostedStop::timeout;
  return why == Stopping::cancel ? HostedStop::cancel : HostedStop::drain;
}

Outcome without_result(Outcome::Kind kind, ErrorInfo error) {
  Outcome outcome;
  outcome.kind = kind;
  outcome.result.clear();
  outcome.error = std::move(error);
  return outcome;
}

}  // namespace

ChildRunner::ChildRunner(std::shared_ptr<const Registry> actors, Children& children, Store& store,
                         const Clock& clock, Log& log, ChildRunnerOptions options, Post post)
    : children_(children),
      store_(store),
      clock_(clock),
      log_(log),
      options_(std::move(options)),
      post_(std::move(post)),
      watch_("child-watch", log, [this](std::stop_token) { return watch(); }),
      journals_(children, store, clock, log, options_.submit) {
  replace(std::move(actors));
}

ChildRunner::~ChildRunner() {
  stop_threads();
}

void ChildRunner::replace(std::shared_ptr<const Registry> actors) {
  auto types = std::make_shared<std::vector<std::string>>();
  std::vector<const RegisteredActor*> hosted;
  for (const RegisteredActor* actor : actors->all()) {
    if (!actor->is_hosted()) continue;
    hosted.push_back(actor);
    auto names = names_of(actor->entry);
    types->insert(types->end(), names.begin(), names.end());
  }
  MutexLock lock(mutex_);
  actors_ = std::move(actors);
  types_ = std::move(types);
  limits_.set_actors(std::move(hosted));
}

void ChildRunner::start_threads() {
  watch_.start();
  journals_.start();
  children_.listen(this);
}

void ChildRunner::stop_threads() {
  children_.listen(nullptr);
  watch_.stop();
  journals_.stop();
}

void ChildRunner::drain() {
  MutexLock lock(mutex_);
  draining_ = true;
}

void ChildRunner::start(std::vector<ClaimedTask> tasks) {
  const SteadyPoint now = clock_.steady();
  std::vector<Finished> unwanted;
  bool is_short = false;
  {
    MutexLock lock(mutex_);
    for (ClaimedTask& task : tasks) {
      const RegisteredActor* actor = actors_->find(task.type);
      std::optional<Outcome> refused;
      if (draining_)
        refused = stopped_outcome(task, Stopping::drain, {});
      else if (!actor || !actor->is_hosted())
        refused = no_actor_outcome(task.type);
      else
        refused = input_refused(task, actor->entry);
      if (refused) {
        unwanted.push_back({std::move(task), std::move(*refused), {}, clock_.now()});
        continue;
      }
      if (task.live.suspect) ++suspects_;
      is_short = is_short || attempt_timeout(task.options, clock_.now()) < kWatchIdle;
      Flight& flight = flights_[next_number_];
      flight.id = store_.id_of(task);
      flight.actor = {actors_, actor};
      flight.task = std::move(task);
      flight.since = now;
      queue_.push_back(next_number_++);
    }
    send_waiting();
  }
  if (is_short) watch_.wake();
  if (!unwanted.empty()) post_(std::move(unwanted));
}

size_t ChildRunner::slots() const {
  size_t slots = 0;
  for (const auto& [id, child] : children_now_)
    if (!child.retiring && !child.doomed) slots += child.slots;
  return slots;
}

double ChildRunner::in_time(ChildId id, const Child& child, Duration ahead) const {
  if (!pace_.is_known()) return 0;
  const SteadyPoint now = clock_.steady();
  auto entered = children_.entered(id);
  double sum = static_cast<double>(child.slots - std::min(child.slots, entered.size())) *
               pace_.in_time(ahead, SteadyPoint::duration(0));
  for (const HostedEntry& entry : entered) sum += pace_.in_time(ahead, now - entry.began);
  return sum;
}

size_t ChildRunner::room_in(ChildId id, const Child& child) const {
  if (child.retiring || child.doomed) return 0;
  size_t ahead = static_cast<size_t>(in_time(id, child, limits::kClaimAhead));
  size_t most = child.slots + std::min(ahead, kSentAheadMax);
  return most - std::min(most, child.flights);
}

// To whoever has most room, so that slow tasks are spread.
void ChildRunner::send_waiting() {
  if (queue_.empty()) return;
  struct Share {
    ChildId id;
    Child* child;
    size_t room;
    std::vector<HostedTask> tasks;
  };
  std::vector<Share> shares;
  for (auto& [id, child] : children_now_)
    if (size_t room = room_in(id, child)) shares.push_back({id, &child, room, {}});
  const TimePoint now = clock_.now();
  while (!queue_.empty() && !shares.empty()) {
    Share& share = *std::ranges::max_element(shares, {}, &Share::room);
    if (share.room == 0) break;
    const uint64_t number = queue_.front();
    queue_.pop_front();
    Flight& flight = flights_.at(number);
    flight.child = share.id;
    ++share.child->flights;
    --share.room;
    share.tasks.push_back({number, flight.actor->entry.type, flight.id, flight.task,
                           attempt_timeout(flight.task.options, now)});
  }
  for (const Share& share : shares)
    if (!share.tasks.empty()) children_.run(share.id, share.tasks);
}

void ChildRunner::ready(ChildId child, size_t slots) {
  {
    MutexLock lock(mutex_);
    children_now_[child].slots = slots;
    send_waiting();
  }
  if (options_.on_room) options_.on_room();
}

void ChildRunner::retiring(ChildId child) {
  bool is_idle = false;
  {
    MutexLock lock(mutex_);
    auto found = children_now_.find(child);
    if (found != children_now_.end()) found->second.retiring = true;
    is_idle = found == children_now_.end() || found->second.flights == 0;
  }
  if (is_idle) children_.let_go(child);
}

void ChildRunner::heard(ChildId child, ChildNews news) {
  std::vector<Finished> finished;
  finished.reserve(news.ends.size() + news.dropped.size());
  bool has_progress = false, is_done = false;
  {
    MutexLock lock(mutex_);
    for (const ChildNews::Line& line : news.lines)
      if (auto flight = flights_.find(line.number); flight != flights_.end())
        say(flight->second, line);
    for (ChildNews::Progress& progress : news.progress)
      if (auto flight = flights_.find(progress.number); flight != flights_.end()) {
        flight->second.progress = std::move(progress.json);
        has_progress = true;
      }
    for (ChildNews::Step& step : news.steps)
      if (auto flight = flights_.find(step.number); flight != flights_.end())
        journals_.ask(child, std::move(step), flight->second.task);
    for (ChildNews::End& end : news.ends) end_flight(std::move(end), finished);
    for (uint64_t number : news.dropped) drop_flight(number, finished);
    auto from = children_now_.find(child);
    is_done = from != children_now_.end() && from->second.retiring && from->second.flights == 0;
    send_waiting();
  }
  if (has_progress) progress_wake_();
  if (is_done) children_.let_go(child);
  const bool has_room = !finished.empty();
  post_if_any(std::move(finished));
  if (has_room && options_.on_room) options_.on_room();
}

void ChildRunner::post_if_any(std::vector<Finished> finished) {
  if (!finished.empty()) post_(std::move(finished));
}

void ChildRunner::say(const Flight& flight, const ChildNews::Line& line) const {
  if (log_.enabled(line.level))
    log_.write(line.level, fmt::format("{} #{} {}: {}", flight.id, flight.task.live.attempt,
                                       flight.task.type, line.text));
}

TimePoint ChildRunner::wall(SteadyPoint at) const {
  return clock_.now() - std::chrono::duration_cast<Duration>(clock_.steady() - at);
}

ClaimedTask ChildRunner::forget(Flights::iterator flight) {
  Flight& gone = flight->second;
  if (gone.task.live.suspect) --suspects_;
  if (gone.slot) {
    slots_taken_[*gone.slot] = false;
    if (CrashPage* page = page_of(*gone.slot)) page->leave(options_.first_slot + *gone.slot);
  }
  if (gone.child != 0)
    if (auto child = children_now_.find(gone.child); child != children_now_.end())
      --child->second.flights;
  journals_.close(flight->first);
  ClaimedTask task = std::move(gone.task);
  flights_.erase(flight);
  return task;
}

void ChildRunner::end_flight(ChildNews::End end, std::vector<Finished>& finished) {
  auto flight = flights_.find(end.number);
  if (flight == flights_.end()) return;
  pace_.took(end.left - end.began);
  const Stopping why = flight->second.stopping;
  ClaimedTask task = forget(flight);
  if (why == Stopping::session_lost) return;
  Outcome outcome = settle(task, std::move(end.outcome), why, options_.result_bytes_max);
  finished.push_back(
      {std::move(task), std::move(outcome), wall(end.began), wall(end.left), end.began, end.left});
}

void ChildRunner::forget_unsent(Flights::iterator flight, Stopping why,
                                std::vector<Finished>& finished) {
  ClaimedTask task = forget(flight);
  if (why == Stopping::session_lost) return;
  Outcome outcome = stopped_outcome(task, why, {});
  finished.push_back({std::move(task), std::move(outcome), {}, clock_.now()});
}

void ChildRunner::drop_flight(uint64_t number, std::vector<Finished>& finished) {
  auto flight = flights_.find(number);
  if (flight == flights_.end()) return;
  Stopping why = flight->second.stopping;
  forget_unsent(flight, why == Stopping::no ? Stopping::drain : why, finished);
}

void ChildRunner::stop(const Lease& lease, StopReason reason) {
  std::vector<Finished> unstarted;
  {
    MutexLock lock(mutex_);
    auto found = std::ranges::find_if(
        flights_, [&](const auto& each) { return each.second.task.lease() == lease; });
    if (found != flights_.end()) stop_flight(found, stopping_for(reason), unstarted);
  }
  post_if_any(std::move(unstarted));
}

void ChildRunner::stop_all(StopReason reason) {
  std::vector<Finished> unstarted;
  {
    MutexLock lock(mutex_);
    std::vector<uint64_t> numbers;
    for (const auto& [number, flight] : flights_) numbers.push_back(number);
    for (uint64_t number : numbers)
      stop_flight(flights_.find(number), stopping_for(reason), unstarted);
  }
  post_if_any(std::move(unstarted));
}

void ChildRunner::stop_flight(Flights::iterator flight, Stopping why,
                              std::vector<Finished>& unstarted) {
  if (flight->second.stopping != Stopping::no) return;
  if (flight->second.child != 0) return ask_to_stop(flight->first, flight->second, why);
  std::erase(queue_, flight->first);
  forget_unsent(flight, why, unstarted);
}

void ChildRunner::ask_to_stop(uint64_t number, Flight& flight, Stopping why) {
  flight.stopping = why;
  flight.stop_at = clock_.steady() + flight.actor->stop_grace;
  children_.stop(flight.child, number, hosted_stop(why));
}

// What waits here goes at once; what was sent is asked for, and comes back unless it is entered.
size_t ChildRunner::hand_back_unstarted(Duration age) {
  std::vector<Finished> unstarted;
  size_t count = 0;
  {
    MutexLock lock(mutex_);
    const SteadyPoint now = clock_.steady();
    for (const auto& [id, child] : children_now_) see_entered(id);
    std::vector<uint64_t> old;
    for (const auto& [number, flight] : flights_)
      if (!flight.slot && !flight.taken_back && flight.stopping == Stopping::no &&
          now - flight.since >= age)
        old.push_back(number);
    count = old.size();
    for (uint64_t number : old) {
      auto flight = flights_.find(number);
      if (flight->second.child == 0) {
        std::erase(queue_, number);
        forget_unsent(flight, Stopping::drain, unstarted);
      } else {
        flight->second.taken_back = true;
        children_.take_back(flight->second.child, number);
      }
    }
  }
  post_if_any(std::move(unstarted));
  return count;
}

void ChildRunner::ended(ChildId child, ChildEnd end) {
  std::vector<Finished> finished;
  {
    MutexLock lock(mutex_);
    std::vector<uint64_t> numbers;
    for (const auto& [number, flight] : flights_)
      if (flight.child == child) numbers.push_back(number);
    for (uint64_t number : numbers) end_with_child(flights_.find(number), end, finished);
    children_now_.erase(child);
  }
  post_if_any(std::move(finished));
  if (options_.on_room) options_.on_room();
}

void ChildRunner::end_with_child(Flights::iterator flight, const ChildEnd& end,
                                 std::vector<Finished>& finished) {
  const uint64_t number = flight->first;
  const Stopping why = flight->second.stopping;
  auto entry = std::ranges::find(end.entered, number, &HostedEntry::number);
  const bool entered = entry != end.entered.end();
  ClaimedTask task = forget(flight);
  if (why == Stopping::session_lost) return;
  Outcome outcome;
  const bool may_be_guilty = !end.blamed || *end.blamed == number;
  if (entered && end.why == ChildEnd::Why::crashed && may_be_guilty)
    outcome =
        without_result(Outcome::Kind::crashed, {error_kind::kWorkerCrashed, end.words, end.detail});
  else if (why != Stopping::no)
    outcome = stopped_outcome(task, why, end.why == ChildEnd::Why::killed ? kNotHeeded : end.words);
  else if (entered && end.why != ChildEnd::Why::killed)
    outcome = without_result(Outcome::Kind::lost, {error_kind::kWorkerLost, end.words, end.detail});
  else
    outcome = without_result(Outcome::Kind::handed_back, {error_kind::kHandedBack, end.words, {}});
  Finished one{std::move(task), std::move(outcome), {}, clock_.now()};
  if (entered) {
    one.started_at = wall(entry->began);
    one.began = entry->began;
    one.left = clock_.steady();
  }
  finished.push_back(std::move(one));
}

std::shared_ptr<const std::vector<std::string>> ChildRunner::types() const {
  MutexLock lock(mutex_);
  return types_;
}

std::vector<ClaimRequest::Room> ChildRunner::room() const {
  MutexLock lock(mutex_);
  if (limits_.when_idle().empty()) return {};
  TypeLimits::Left left(limits_.when_idle());
  for (const auto& [number, flight] : flights_) left.take(flight.actor->entry.type);
  return std::move(left.rooms);
}

void ChildRunner::set_concurrency(std::map<std::string, int64_t> chosen) {
  MutexLock lock(mutex_);
  limits_.choose(std::move(chosen));
}

bool ChildRunner::holds(const Lease& lease) const {
  MutexLock lock(mutex_);
  return std::ranges::any_of(flights_,
                             [&](const auto& each) { return each.second.task.lease() == lease; });
}

size_t ChildRunner::free() const {
  MutexLock lock(mutex_);
  const size_t all = slots();
  return all - std::min(all, flights_.size());
}

size_t ChildRunner::appetite(Duration ahead) const {
  MutexLock lock(mutex_);
  double soon = 0;
  size_t entered = 0;
  for (const auto& [id, child] : children_now_) {
    if (child.retiring || child.doomed) continue;
    soon += in_time(id, child, ahead);
    entered += children_.entered(id).size();
  }
  const size_t all = slots();
  const size_t wanted = std::min(static_cast<size_t>(soon), Pace::kAheadMax);
  const size_t waiting = flights_.size() - std::min(flights_.size(), entered);
  return std::max(all - std::min(all, flights_.size()), wanted - std::min(wanted, waiting));
}

bool ChildRunner::idle() const {
  MutexLock lock(mutex_);
  return flights_.empty();
}

size_t ChildRunner::suspects() const {
  MutexLock lock(mutex_);
  return suspects_;
}

std::vector<ProgressUpdate> ChildRunner::take_progress() {
  std::vector<ProgressUpdate> updates;
  MutexLock lock(mutex_);
  for (auto& [number, flight] : flights_)
    if (flight.progress) {
      updates.push_back({flight.task.lease(), std::move(*flight.progress)});
      flight.progress.reset();
    }
  return updates;
}

void ChildRunner::fill(SessionReport& report) const {
  MutexLock lock(mutex_);
  size_t entered = 0;
  std::map<uint64_t, SteadyPoint> began;
  for (const auto& [id, child] : children_now_) {
    report.slots += static_cast<int>(child.slots);
    for (const HostedEntry& entry : children_.entered(id)) began[entry.number] = entry.began;
  }
  std::optional<SteadyPoint> oldest;
  int next_slot = static_cast<int>(options_.first_slot);
  for (const auto& [number, flight] : flights_) {
    auto found = began.find(number);
    if (found == began.end()) {
      oldest = std::min(oldest.value_or(flight.since), flight.since);
      continue;
    }
    ++entered;
    report.running.push_back(
        {flight.task.key, flight.task.live.attempt, next_slot++, wall(found->second)});
  }
  report.busy += static_cast<int>(entered);
  report.unstarted += static_cast<int>(flights_.size() - entered);
  if (!oldest) return;
  const TimePoint at = wall(*oldest);
  report.oldest_unstarted_at = std::min(report.oldest_unstarted_at.value_or(at), at);
}

// What has no cell is taken for not entered, should this process die.
CrashPage* ChildRunner::page_of(size_t slot) const {
  return options_.first_slot + slot < CrashPage::kSlots ? options_.page : nullptr;
}

void ChildRunner::mark_slot(Flight& flight, TimePoint began) {
  auto free = std::ranges::find(slots_taken_, false);
  if (free == slots_taken_.end()) free = slots_taken_.insert(free, false);
  *free = true;
  flight.slot = static_cast<size_t>(free - slots_taken_.begin());
  if (CrashPage* page = page_of(*flight.slot))
    page->enter({.key = flight.task.key.value,
                 .attempt = flight.task.live.attempt,
                 .slot = static_cast<int32_t>(options_.first_slot + *flight.slot),
                 .started_at = began});
}

// Only what is in a slot for a while is seen there; the rest has ended before.
void ChildRunner::see_entered(ChildId id) {
  for (const HostedEntry& entry : children_.entered(id)) {
    auto found = flights_.find(entry.number);
    if (found == flights_.end() || found->second.slot) continue;
    Flight& flight = found->second;
    const TimePoint began = wall(entry.began);
    mark_slot(flight, began);
    if (flight.stopping == Stopping::no)
      flight.stop_at = entry.began + attempt_timeout(flight.task.options, began);
  }
}

Duration ChildRunner::watch() {
  MutexLock lock(mutex_);
  for (const auto& [id, child] : children_now_) see_entered(id);
  const SteadyPoint now = clock_.steady();
  for (auto& [number, flight] : flights_) {
    const bool is_timed = flight.slot || flight.stopping != Stopping::no;
    if (!is_timed || now < flight.stop_at) continue;
    if (flight.stopping == Stopping::no) {
      ask_to_stop(number, flight, Stopping::timeout);
      continue;
    }
    auto child = children_now_.find(flight.child);
    if (child == children_now_.end() || child->second.doomed) continue;
    child->second.doomed = true;
    log_.error("{} #{} {} did not stop within {}: its process is killed", flight.id,
               flight.task.live.attempt, flight.task.type, to_text(flight.actor->stop_grace));
    children_.kill(flight.child, fmt::format("{} did not stop", flight.id));
  }
  return flights_.empty() ? kWatchIdle : kWatchBusy;
}

}  // namespace opscore
