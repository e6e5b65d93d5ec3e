#include "opscore/worker/worker.h"

#include <algorithm>
#include <iterator>
#include <thread>

namespace opscore {
namespace {

constexpr char kReport[] = "report";

}  // namespace

Worker::Worker(std::shared_ptr<const Registry> actors, Store& store, const Clock& clock,
               Random& random, Log& log, Metrics& metrics, WorkerOptions options)
    : actors_(std::move(actors)),
      store_(store),
      clock_(clock),
      log_(log),
      options_(std::move(options)),
      finisher_(store, clock, random, log, metrics),
      runner_(actors_, store, clock, log,
              {.slots = options_.slots,
               .result_bytes_max = options_.result_bytes_max,
               .page = options_.page,
               .on_slot_thread = options_.on_slot_thread,
               .on_room = [this] { intake_.room(); }},
              [this](std::vector<Finished> finished) { finisher_.post(std::move(finished)); }),
      intake_(store, add_hosted(), clock, random, log, intake_options(metrics)),
      progress_("progress", log, [this](std::stop_token) { return flush_progress(); }) {
  runner_.on_progress([this] { progress_.wake(); });
  if (hosted_) hosted_->on_progress([this] { progress_.wake(); });
  finisher_.on_canary([this](const Finished& canary, Applied applied) {
    intake_.canary_ended(canary.task, canary.outcome, applied);
  });
}

Runner& Worker::add_hosted() {
  if (!options_.children) return runner_;
  hosted_.emplace(actors_, *options_.children, store_, clock_, log_,
                  ChildRunnerOptions{.result_bytes_max = options_.result_bytes_max,
                                     .page = options_.page,
                                     .first_slot = options_.slots,
                                     .on_room = [this] { intake_.room(); },
                                     .submit = options_.submit},
                  [this](std::vector<Finished> finished) { finisher_.post(std::move(finished)); });
  return split_.emplace(runner_, *hosted_);
}

Worker::~Worker() {
  stop("the worker was destroyed");
}

IntakeOptions Worker::intake_options(Metrics& metrics) {
  IntakeOptions intake;
  intake.session_name = options_.session_name;
  intake.session_context = options_.session_context;
  intake.describe = options_.describe;
  intake.queues = options_.queues;
  intake.suspects = [this] { return runner_.suspects() + (hosted_ ? hosted_->suspects() : 0); };
  intake.on_session = [this](SessionId session) {
    if (options_.page) options_.page->set_session(session.value);
    log_.info("session {} opened: {} slots, {} types", session.value, options_.slots,
              runner_.types()->size() + (hosted_ ? hosted_->types()->size() : 0));
  };
  intake.on_lost = [this](SessionId session) { finisher_.forget(session); };
  intake.on_command = [this](const std::string& command) { on_command(command); };
  intake.complete = options_.complete;
  intake.on_progress = options_.on_progress;
  intake.sends_canaries = true;
  intake.unready = options_.unready;
  if (options_.broker) intake.hints = &hints_.emplace(*options_.broker, clock_, log_, metrics);
  return intake;
}

void Worker::announce(const Registry& actors) {
  std::vector<CatalogueEntry> entries;
  for (const RegisteredActor* actor : actors.all()) {
    entries.push_back(actor->entry);
    entries.back().seen_at = clock_.now();
  }
  store_.fleet().announce_actors(entries);
}

// A session that is told something renews at once, with a report made after it was told.
void Worker::replace(std::shared_ptr<const Registry> actors) {
  if (hosted_) hosted_->replace(actors);
  runner_.replace(std::move(actors));
  intake_.describe_again();
  if (!session()) return;  // reports when it is opened
  MutexLock lock(report_mutex_);
  uint64_t before = reports_;
  lock.unlock();
  try {
    store_.fleet().command(session(), kReport);
  } catch (const Error& error) {
    log_.warn("the actors are replaced, and reported with the next renewal: {}", error.what());
    return;
  }
  lock.lock();
  reported_.wait_for(lock, limits::kRenewEvery * 2,
                     [&]() OPSCORE_REQUIRES(report_mutex_) { return reports_ != before; });
}

void Worker::on_command(const std::string& command) {
  if (command != kReport) return options_.on_command(command);
  {
    MutexLock lock(report_mutex_);
    ++reports_;
  }
  reported_.notify_all();
}

void Worker::start() {
  announce(*actors_);
  finisher_.start();
  runner_.start_threads();
  if (hosted_) hosted_->start_threads();
  progress_.start();
  intake_.start();
}

bool Worker::wait_consuming(Deadline deadline) const {
  while (state() != "consuming") {
    if (deadline.passed()) return false;
    std::this_thread::sleep_for(Duration(1));
  }
  return true;
}

// Woken by every progress of an actor, writes at most once a second.
Duration Worker::flush_progress() {
  if (SteadyPoint now = clock_.steady(); now < progress_at_)
    return std::chrono::ceil<Duration>(progress_at_ - now);
  progress_at_ = clock_.steady() + limits::kProgressEvery;
  auto updates = runner_.take_progress();
  if (hosted_) std::ranges::move(hosted_->take_progress(), std::back_inserter(updates));
  if (!updates.empty()) store_.tasks().record_progress(std::move(updates));
  if (size_t abandoned = runner_.abandoned(); abandoned * 4 >= options_.slots && abandoned > 0)
    options_.on_dying(fmt::format("{} of {} slots are held by actors that do not stop", abandoned,
                                  options_.slots));
  return limits::kProgressEvery;
}

bool Worker::wait_for(Duration grace, const std::function<bool()>& over) {
  Deadline deadline = Deadline::after(grace);
  while (!over()) {
    if (deadline.passed()) return false;
    std::this_thread::sleep_for(Duration(5));
  }
  return true;
}

bool Worker::stop(const std::string& last_words) {
  if (std::exchange(stopped_, true)) return true;
  intake_.drain();
  // A claim that stands in the store may still be answered, even with what is handed back now.
  runner_.drain();
  if (hosted_) hosted_->drain();
  auto no_actor_runs = [this] { return runner_.idle() && (!hosted_ || hosted_->idle()); };
  auto all_is_done = [&] { return no_actor_runs() && finisher_.empty(); };
  wait_for(options_.drain_grace, [&] { return all_is_done() || hurried_; });
  if (!all_is_done()) {
    runner_.stop_all(StopReason::drain);
    if (hosted_) hosted_->stop_all(StopReason::drain);
    wait_for(limits::kStopGrace * 4, no_actor_runs);  // they have graces of their own
  }
  bool clean = runner_.stop_threads(Deadline::after(Duration(500)));
  if (hosted_) hosted_->stop_threads();
  progress_.stop();
  bool all_written = finisher_.stop(Deadline::after(limits::kStopGrace));
  intake_.stop();
  if (all_written) intake_.close(last_words);
  return clean && all_written;
}

}  // namespace opscore
