#include "opscore/engine/diagnosis.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "opscore/base/error.h"
#include "opscore/model/limits.h"

namespace opscore {
namespace {

constexpr std::array kWords{
    "completed",          "failed",          "cancelled",      "due_later",
    "waiting_for_retry",  "snoozed",         "waiting",        "queue_paused",
    "server_down",        "no_worker",       "no_actor",       "limit_reached",
    "slots_busy",         "suspect_waiting", "about_to_start", "not_started",
    "stopping",           "lease_lost",      "running",        "not_handed_over",
    "handed_to_dramatiq", "unheard",         "unconsumed",     "held"};

bool contains(const std::vector<std::string>& list, const std::string& word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

// "10m", "2s": rounded to what people read.
std::string in(Duration wait) {
  wait = std::max(wait, Duration(0));
  for (Duration unit : {Duration(std::chrono::hours(1)), Duration(std::chrono::minutes(1)),
                        Duration(std::chrono::seconds(1))})
    if (wait >= unit * 10) return to_text(wait - wait % unit);
  return to_text(wait < Duration(1000) ? wait : wait - wait % Duration(100));
}

Diagnosis diagnose_finished(const Task& task) {
  if (task.state() == State::completed)
    return {Verdict::completed, "It completed; there is a result.", std::nullopt};
  Verdict verdict = task.state() == State::failed ? Verdict::failed : Verdict::cancelled;
  return {verdict,
          fmt::format("It ended {} after {} charged attempt{}: {}: {}", to_string(task.state()),
                      task.live.charged, task.live.charged == 1 ? "" : "s", task.error.kind,
                      task.error.message),
          verdict == Verdict::failed ? std::optional<std::string>("attempt") : std::nullopt};
}

Diagnosis diagnose_pending(const Facts& facts);

Diagnosis diagnose_scheduled(const Facts& facts) {
  const Task& task = facts.task;
  if (task.live.run_at <= facts.now) return diagnose_pending(facts);  // due: promoted or not
  std::string due =
      fmt::format("{} (in {})", to_rfc3339(task.live.run_at), in(task.live.run_at - facts.now));
  if (facts.attempts.empty())
    return {Verdict::due_later, "It is scheduled for " + due + ".", "record"};
  const Attempt& last = facts.attempts.back();
  if (last.end == AttemptEnd::snoozed)
    return {Verdict::snoozed,
            fmt::format("Its actor asked to be run again at {}{}{}.", due,
                        last.error.message.empty() ? "" : ": ", last.error.message),
            "attempt"};
  return {Verdict::waiting_for_retry,
          fmt::format("Attempt {} ended with {} ({}); the next is due at {}.", last.number,
                      last.error.kind, last.error.message, due),
          "attempt"};
}

// No session runs more than a limit allows, so all that could run the task are at it exactly when
// together they run that many.
bool is_reached(int64_t limit, int64_t running, int sessions) {
  return limit != kUnlimited && running >= limit * sessions;
}

std::optional<Diagnosis> diagnose_limits(const Facts& facts, int able) {
  static constexpr char kSentence[] =
      "{} '{}': limit of {} running on this worker reached; it starts when one of them ends.";
  int64_t limit =
      facts.queue ? facts.queue->limits.in_force(&QueueLimits::concurrency) : kUnlimited;
  if (facts.queue && is_reached(limit, facts.queue->running, able))
    return Diagnosis{Verdict::limit_reached,
                     fmt::format(kSentence, "Queue", facts.task.queue, limit), "queue"};
  limit = facts.actor ? facts.actor->concurrency_in_force() : kUnlimited;
  if (facts.actor && is_reached(limit, facts.actor_running, able))
    return Diagnosis{Verdict::limit_reached,
                     fmt::format(kSentence, "Actor", facts.actor->type, limit), "slot"};
  return std::nullopt;
}

// Pending: follow queue -> session -> slot until something is missing.
Diagnosis diagnose_pending(const Facts& facts) {
  const Task& task = facts.task;
  if (facts.queue && facts.queue->paused)
    return {Verdict::queue_paused, fmt::format("Queue '{}' is paused.", task.queue), "queue"};
  if (facts.server_down)
    return {Verdict::server_down, "No server answers, so nothing takes tasks.", "session"};
  int serving = 0, able = 0, slots = 0, busy = 0;
  for (const Session& session : facts.sessions) {
    if (!is_live(session, facts.now) || !serves(session, task.queue)) continue;
    ++serving;
    if (!runs(session, task.type)) continue;
    ++able;
    slots += session.report.slots;
    busy += std::min(session.report.busy, session.report.slots);
  }
  if (serving == 0)
    return {Verdict::no_worker,
            fmt::format("No live worker session serves queue '{}'.", task.queue), "session"};
  if (able == 0)
    return {Verdict::no_actor,
            fmt::format("{} session{} queue '{}', but none can run type '{}'.", serving,
                        serving == 1 ? " serves" : "s serve", task.queue, task.type),
            "session"};
  if (auto reached = diagnose_limits(facts, able)) return *reached;
  if (busy >= slots)
    return {Verdict::slots_busy,
            fmt::format("All {} slots of the {} worker session{} that could run it are busy.",
                        slots, able, able == 1 ? "" : "s"),
            "slot"};
  if (task.live.suspect)
    return {Verdict::suspect_waiting,
            "A worker died while it ran, so it runs alone of its kind and waits for its turn.",
            "slot"};
  return {Verdict::about_to_start, "It is due and a slot is free; it should start now.",
          std::nullopt};
}

Diagnosis diagnose_running(const Facts& facts) {
  const Task& task = facts.task;
  auto owner = std::find_if(facts.sessions.begin(), facts.sessions.end(),
                            [&](const Session& s) { return s.id == task.live.session; });
  if (owner == facts.sessions.end() || !is_live(*owner, facts.now) || facts.server_down) {
    std::string who = owner == facts.sessions.end() ? "unknown" : owner->name;
    return {Verdict::lease_lost,
            fmt::format("Attempt {} is leased to session {} ({}), which is gone; it will be given "
                        "back when that is certain.",
                        task.live.attempt, task.live.session.value, who),
            "session"};
  }
  if (task.live.cancel_requested)
    return {Verdict::stopping, "It was asked to stop and has not ended yet.", std::nullopt};
  if (!task.started_at && facts.now - task.live.claimed_at > limits::kUnstarted)
    return {Verdict::not_started,
            fmt::format("Session {} claimed it {} ago and has not started it.", owner->name,
                        in(facts.now - task.live.claimed_at)),
            "slot"};
  if (!task.started_at)
    return {Verdict::running,
            fmt::format("Session {} has just claimed it for attempt {}.", owner->name,
                        task.live.attempt),
            std::nullopt};
  return {Verdict::running,
          fmt::format("Attempt {} runs on {} since {}.", task.live.attempt, owner->name,
                      to_rfc3339(task.started_at.value_or(task.live.claimed_at))),
          std::nullopt};
}

// What is left to maintenance: telling workers of what becomes due, and giving back what was lost.
void add_missing_maintenance(const Facts& facts, Diagnosis& diagnosis) {
  if (!facts.unled_since || facts.server_down) return;
  switch (diagnosis.verdict) {
    case Verdict::due_later:
    case Verdict::waiting_for_retry:
    case Verdict::snoozed:
    case Verdict::about_to_start:
      diagnosis.sentence += fmt::format(" It may start late: {}.", unled_words(*facts.unled_since));
      break;
    case Verdict::lease_lost:
      diagnosis.sentence +=
          fmt::format(" Nobody gives it back: {}.", unled_words(*facts.unled_since));
      break;
    default:
      break;
  }
}

// Middleware that runs says so every minute.
constexpr Duration kUnheard = std::chrono::minutes(5);

// Why its message is not on its queue.
Diagnosis diagnose_not_handed_over(const Facts& facts) {
  const std::string& queue = facts.task.queue;
  if (facts.queue && facts.queue->paused)
    return {Verdict::queue_paused,
            fmt::format("Queue '{}' is paused, so its message is not sent.", queue), "queue"};
  if (facts.server_down)
    return {Verdict::server_down, "No server answers, so nothing sends its message.", "queue"};
  std::string why = "no process says that it sends messages to Dramatiq: see RABBITMQ_URL";
  for (const Session& session : facts.sessions) {
    if (!is_live(session, facts.now) || !session.report.dramatiq) continue;
    const SessionReport::Broker& broker = *session.report.dramatiq;
    auto refused = broker.refused.find(queue);
    if (refused == broker.refused.end()) refused = broker.refused.find(queue + ".DQ");
    why = !broker.problem.empty()           ? broker.problem
          : !broker.blocked.empty()         ? "RabbitMQ takes no messages: " + broker.blocked
          : refused != broker.refused.end() ? "RabbitMQ refuses " + refused->second
                                            : "it is about to";
  }
  return {Verdict::not_handed_over,
          fmt::format("Python's Dramatiq is to run it, and its message is not on queue '{}' yet: "
                      "{}.",
                      queue, why),
          "queue"};
}

// Python owns its attempts; what is known of them is what was reported.
// What RabbitMQ itself says of a message that is on its queue.
std::optional<Diagnosis> diagnose_message(const Facts& facts) {
  const std::string& name = facts.task.queue;
  const BrokerLook::Queue* queue = facts.broker ? facts.broker->find(name) : nullptr;
  if (!queue) return std::nullopt;
  const std::string since = to_rfc3339(*facts.handed_over_at);
  if (queue->consumers == 0)
    return Diagnosis{Verdict::unconsumed,
                     fmt::format("Its message is on RabbitMQ since {}, and nobody consumes queue "
                                 "'{}': no Python worker of it is connected.",
                                 since, name),
                     "broker"};
  if (queue->ready == 0 && queue->unacked.value_or(0) > 0)
    return Diagnosis{
        Verdict::held,
        fmt::format(
            "Consumers of queue '{}' hold {} message{}, and none is left there: one of them "
            "has it, and either has not begun it or lacks the middleware that reports.",
            name, *queue->unacked, *queue->unacked == 1 ? "" : "s"),
        "broker"};
  return std::nullopt;
}

Diagnosis diagnose_external(const Facts& facts) {
  const Task& task = facts.task;
  const TimePoint heard_at = *task.live.external_until - limits::kExternalDoubt;
  if (task.state() == State::running) {
    const std::string who =
        facts.picked_up_by.empty() ? "a Python worker" : "Python worker " + facts.picked_up_by;
    if (facts.now - heard_at > kUnheard)
      return {Verdict::unheard,
              fmt::format("Attempt {} began on {} at {}, which was last heard {} ago; if it died, "
                          "RabbitMQ gives the message to another.",
                          task.live.attempt, who, to_rfc3339(task.started_at.value_or(heard_at)),
                          in(facts.now - heard_at)),
              "attempt"};
    return {Verdict::running,
            fmt::format("Attempt {} runs on {} since {}.", task.live.attempt, who,
                        to_rfc3339(task.started_at.value_or(heard_at))),
            std::nullopt};
  }
  if (!facts.handed_over_at) return diagnose_not_handed_over(facts);
  if (task.state() == State::scheduled && task.live.run_at > facts.now)
    return diagnose_scheduled(facts);
  if (auto message = diagnose_message(facts)) return *message;
  return {
      Verdict::handed_to_dramatiq,
      fmt::format("handed_to_dramatiq: its message is on RabbitMQ, for queue '{}', since {}, "
                  "and no Python worker has reported it. Either none takes it ('opscore broker "
                  "inspect {}'), or those that do lack the middleware that reports: pip install "
                  "opscore, and broker.add_middleware(OpscoreMiddleware()) from "
                  "opscore.dramatiq.",
                  task.queue, to_rfc3339(*facts.handed_over_at), task.queue),
      "queue"};
}

Diagnosis diagnose_state(const Facts& facts) {
  if (!facts.task.live.claimable()) return diagnose_external(facts);
  switch (facts.task.state()) {
    case State::completed:
    case State::failed:
    case State::cancelled:
      return diagnose_finished(facts.task);
    case State::scheduled:
      return diagnose_scheduled(facts);
    case State::waiting:
      return {Verdict::waiting, "It waits for other tasks or for a person.", "record"};
    case State::pending:
      return diagnose_pending(facts);
    case State::running:
      return diagnose_running(facts);
  }
  OPSCORE_ASSERT(false, "a state without a diagnosis");
}

}  // namespace

const BrokerLook::Queue* BrokerLook::find(const std::string& name) const {
  auto found = std::find_if(queues.begin(), queues.end(),
                            [&](const Queue& queue) { return queue.name == name; });
  return found == queues.end() ? nullptr : &*found;
}

std::string_view to_string(Verdict verdict) {
  return kWords[static_cast<size_t>(verdict)];
}

bool is_live(const Session& session, TimePoint now) {
  return !session.ended_at && now - session.renewed_at <= limits::kSessionTtl;
}

bool serves(const Session& session, const std::string& queue) {
  return contains(session.report.queues, queue) || contains(session.report.queues, "*");
}

bool runs(const Session& session, const std::string& type) {
  return contains(session.report.types, type);
}

std::optional<TimePoint> unled_since(const std::vector<Session>& sessions, TimePoint now) {
  std::optional<TimePoint> led_at, watched_since;
  for (const Session& session : sessions) {
    const auto& loops = session.report.loops;
    if (auto loop = loops.find(kMaintenanceLoop); loop != loops.end())
      led_at = std::max(led_at.value_or(loop->second), loop->second);
    if (!is_live(session, now)) continue;
    if (session.report.state == "leading") return std::nullopt;  // also of an older version
    watched_since = std::min(watched_since.value_or(session.started_at), session.started_at);
  }
  std::optional<TimePoint> since = led_at ? led_at : watched_since;
  return since && now - *since > limits::kSessionTtl ? since : std::nullopt;
}

std::string unled_words(TimePoint since) {
  return fmt::format("no maintenance process leads since {}; start one with 'opscore maintenance'",
                     to_rfc3339(since));
}

Diagnosis diagnose(const Facts& facts) {
  Diagnosis diagnosis = diagnose_state(facts);
  add_missing_maintenance(facts, diagnosis);
  return diagnosis;
}

}  // namespace opscore
