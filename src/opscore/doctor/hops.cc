#include "opscore/doctor/hops.h"

#include <fmt/format.h>

#include <algorithm>

#include "opscore/model/limits.h"

namespace opscore {
namespace {

// Texts of several sessions or queues, or `none`.
class List {
 public:
  explicit List(std::string none) : none_(std::move(none)) {}
  void add(const std::string& text) { text_ += (text_.empty() ? "" : "; ") + text; }
  std::string text() const { return text_.empty() ? none_ : text_; }

 private:
  const std::string none_;
  std::string text_;
};

std::string counted(uint64_t count, const char* what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

std::string ago(const Facts& facts, TimePoint at) {
  return to_text(std::max(facts.now - at, Duration(0)));
}

Hop record_hop(const Facts& facts) {
  const Task& task = facts.task;
  std::string evidence = fmt::format("type {}, queue {}, {} since {}", task.type, task.queue,
                                     to_string(task.state()), to_rfc3339(task.updated_at));
  if (task.state() == State::scheduled)
    evidence += fmt::format(", due {}", to_rfc3339(task.live.run_at));
  return {"record", true, evidence};
}

Hop adoption_hop(const Walk& walk) {
  return {"adoption", true,
          fmt::format("message {} of Dramatiq, {} bytes, is this task since {}",
                      walk.origin->message_id, walk.origin->body.size(),
                      to_rfc3339(walk.facts.task.created_at()))};
}

// Whether the word of a task has left the store.
Hop outbox_hop(const Walk& walk) {
  const Facts& facts = walk.facts;
  if (!facts.task.live.claimable())
    return {"outbox", true,
            facts.handed_over_at
                ? "RabbitMQ confirmed its message at " + to_rfc3339(*facts.handed_over_at)
                : "its message waits to be sent"};
  if (walk.unsent.empty()) return {"outbox", true, "no hint waits to be sent"};
  return {"outbox", true,
          fmt::format("{} hints for its queue wait to be sent", walk.unsent.size())};
}

Hop lease_hop(const Facts& facts) {
  const TimePoint until = *facts.task.live.external_until;
  return {"lease", true,
          fmt::format("Python's{}{}, last heard {} ago", facts.picked_up_by.empty() ? "" : ": ",
                      facts.picked_up_by, ago(facts, until - limits::kExternalDoubt))};
}

std::string budget_of(const Task& task) {
  const int most = task.live.budget > 0 ? task.live.budget : task.max_attempts;
  return most > 0 ? std::to_string(most) : "unlimited";
}

Hop attempt_hop(const Facts& facts) {
  if (facts.attempts.empty()) return {"attempt", true, "none yet"};
  const Attempt& last = facts.attempts.back();
  std::string evidence = fmt::format("charged {} of {}: number {}", facts.task.live.charged,
                                     budget_of(facts.task), last.number);
  if (last.started_at) evidence += fmt::format(", started {}", to_rfc3339(*last.started_at));
  if (last.end)
    evidence += fmt::format(", ended {}", to_string(*last.end));
  else
    evidence += ", running";
  if (!last.error.kind.empty())
    evidence += fmt::format(" ({}: {})", last.error.kind, last.error.message);
  return {"attempt", true, evidence};
}

Hop step_hop(const Walk& walk) {
  const Step& last = walk.steps.back();
  return {"step", true,
          fmt::format("{} journaled, the last: {} {} at {}, took {}", walk.steps.size(), last.kind,
                      last.name, to_rfc3339(last.at), to_text(last.took))};
}

Hop finish_hop(const Facts& facts) {
  if (!facts.task.finished_at) return {"finish", true, "not yet"};
  return {
      "finish", true,
      fmt::format("{} at {}", to_string(facts.task.state()), to_rfc3339(*facts.task.finished_at))};
}

}  // namespace

Hop broker_hop(const Facts& facts) {
  if (facts.broker && !facts.broker->problem.empty())
    return {"broker", true, facts.broker->where + " does not answer: " + facts.broker->problem};
  if (facts.broker) {
    List queues(facts.broker->where + ": it has no queue of this one");
    for (const BrokerLook::Queue& queue : facts.broker->queues)
      queues.add(fmt::format(
          "{}: {} ready, {}, {}", queue.name, queue.ready,
          queue.unacked ? fmt::format("{} unacked", *queue.unacked) : "unacked not known",
          counted(queue.consumers, "consumer")));
    return {"broker", true, queues.text()};
  }
  List brokers("none: the store tells workers itself");
  for (const Session& session : facts.sessions) {
    if (!is_live(session, facts.now)) continue;
    const SessionReport& report = session.report;
    const auto& broker = facts.task.live.claimable() ? report.broker : report.dramatiq;
    if (!broker) continue;
    brokers.add(fmt::format("{} by {}: {}", broker->where, session.name,
                            !broker->problem.empty()   ? broker->problem
                            : !broker->blocked.empty() ? broker->blocked
                                                       : "connected"));
  }
  return {"broker", true, brokers.text()};
}

Hop queue_hop(const Facts& facts) {
  if (!facts.queue) return {"queue", true, fmt::format("{}: no counts", facts.task.queue)};
  const QueueStats& queue = *facts.queue;
  std::string evidence =
      fmt::format("{}: {} pending, {} scheduled, {} running, {} dead{}", queue.name, queue.pending,
                  queue.scheduled, queue.running, queue.dead, queue.paused ? "; paused" : "");
  if (queue.oldest_pending_at)
    evidence += fmt::format("; the oldest is due since {}", to_rfc3339(*queue.oldest_pending_at));
  int64_t limit = queue.limits.in_force(&QueueLimits::concurrency);
  if (limit != kUnlimited) evidence += fmt::format("; at most {} running on one worker", limit);
  return {"queue", true, evidence};
}

Hop session_hop(const Facts& facts) {
  const Task& task = facts.task;
  SessionId owner = task.live.session ? task.live.session : task.worker;
  List sessions("none");
  for (const Session& session : facts.sessions) {
    bool own = owner && session.id == owner;
    if (!own && session.ended_at) continue;
    sessions.add(
        fmt::format("{} ({}): {}, renewed {} ago, {}{}", session.id.value, session.name,
                    session.ended_at ? "ended: " + session.last_words : session.report.state,
                    ago(facts, session.renewed_at),
                    serves(session, task.queue) ? "serves the queue" : "does not serve the queue",
                    runs(session, task.type) ? "" : ", cannot run the type"));
  }
  return {"session", true, sessions.text()};
}

Hop intake_hop(const Facts& facts) {
  List intakes("none");
  for (const Session& session : facts.sessions) {
    if (!is_live(session, facts.now) || !serves(session, facts.task.queue)) continue;
    const SessionReport& report = session.report;
    std::string words = fmt::format("{}: turned {} ago, {} claimed and not started", session.name,
                                    ago(facts, session.renewed_at), report.unstarted);
    if (report.oldest_unstarted_at)
      words += fmt::format(", the oldest {} ago", ago(facts, *report.oldest_unstarted_at));
    intakes.add(words);
  }
  return {"intake", true, intakes.text()};
}

Hop slot_hop(const Facts& facts) {
  List slots("none");
  for (const Session& session : facts.sessions) {
    if (!is_live(session, facts.now) || !runs(session, facts.task.type)) continue;
    std::string words =
        fmt::format("{}: {} of {} busy, {} claimed and waiting", session.name, session.report.busy,
                    session.report.slots, session.report.unstarted);
    if (session.report.abandoned > 0)
      words += fmt::format(", {} abandoned", session.report.abandoned);
    slots.add(words);
  }
  return {"slot", true, slots.text()};
}

std::vector<Hop> hops_of(const Walk& walk) {
  const Facts& facts = walk.facts;
  std::vector<Hop> hops{record_hop(facts)};
  if (walk.origin) hops.push_back(adoption_hop(walk));
  hops.insert(hops.end(), {outbox_hop(walk), broker_hop(facts), queue_hop(facts)});
  // What is run outside needs neither session nor slot of ours.
  if (facts.task.live.claimable())
    hops.insert(hops.end(), {session_hop(facts), intake_hop(facts), slot_hop(facts)});
  else
    hops.push_back(lease_hop(facts));
  hops.push_back(attempt_hop(facts));
  if (!walk.steps.empty()) hops.push_back(step_hop(walk));
  hops.push_back(finish_hop(facts));
  return hops;
}

void cut_at(std::vector<Hop>& hops, const std::optional<std::string>& broken) {
  if (!broken) return;
  auto at =
      std::find_if(hops.begin(), hops.end(), [&](const Hop& hop) { return hop.name == *broken; });
  if (at == hops.end()) return;
  at->ok = false;
  hops.erase(at + 1, hops.end());
}

}  // namespace opscore
