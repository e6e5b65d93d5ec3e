#include "opscore/doctor/explain.h"

#include <fmt/format.h>

#include <algorithm>

#include "opscore/engine/facts.h"

namespace opscore {
namespace {

Facts gather(Store& store, const Clock& clock, std::string_view task_id, bool server_down) {
  auto key = store.reader().resolve(task_id);
  auto task = key ? store.reader().find(*key) : std::nullopt;
  if (!task)
    throw Error(Errc::not_found,
                fmt::format("no task '{}'; it may have been deleted, or its retention is "
                            "over. 'opscore tasks list' shows what there is",
                            task_id));
  // Long enough to still know the session that a running task was leased to.
  Facts facts = gather_facts(store, clock, std::move(*task), std::chrono::hours(24));
  facts.server_down = server_down;
  return facts;
}

Hop record_hop(const Facts& facts) {
  const Task& task = facts.task;
  std::string evidence = fmt::format("type {}, queue {}, {} since {}", task.type, task.queue,
                                     to_string(task.state()), to_rfc3339(task.updated_at));
  if (task.state() == State::scheduled)
    evidence += fmt::format(", due {}", to_rfc3339(task.live.run_at));
  return {"record", true, evidence};
}

Hop queue_hop(const Facts& facts) {
  if (!facts.queue) return {"queue", true, fmt::format("{}: no counts", facts.task.queue)};
  const QueueStats& queue = *facts.queue;
  std::string evidence =
      fmt::format("{}: {} pending, {} scheduled, {} running, {} dead{}", queue.name, queue.pending,
                  queue.scheduled, queue.running, queue.dead, queue.paused ? "; paused" : "");
  int64_t limit = queue.limits.in_force(&QueueLimits::concurrency);
  if (limit != kUnlimited) evidence += fmt::format("; at most {} running on one worker", limit);
  return {"queue", true, evidence};
}

Hop session_hop(const Facts& facts) {
  const Task& task = facts.task;
  SessionId owner = task.live.session ? task.live.session : task.worker;
  std::string evidence;
  for (const Session& session : facts.sessions) {
    bool own = owner && session.id == owner;
    if (!own && session.ended_at) continue;
    if (!evidence.empty()) evidence += "; ";
    evidence +=
        fmt::format("{} ({}): {}, renewed {} ago, {}{}", session.id.value, session.name,
                    session.ended_at ? "ended: " + session.last_words : session.report.state,
                    to_text(std::max(facts.now - session.renewed_at, Duration(0))),
                    serves(session, task.queue) ? "serves the queue" : "does not serve the queue",
                    runs(session, task.type) ? "" : ", cannot run the type");
  }
  return {"session", true, evidence.empty() ? "none" : evidence};
}

Hop slot_hop(const Facts& facts) {
  std::string evidence;
  for (const Session& session : facts.sessions) {
    if (!is_live(session, facts.now) || !runs(session, facts.task.type)) continue;
    if (!evidence.empty()) evidence += "; ";
    evidence += fmt::format("{}: {} of {} busy, {} claimed and waiting", session.name,
                            session.report.busy, session.report.slots, session.report.unstarted);
    if (session.report.abandoned > 0)
      evidence += fmt::format(", {} abandoned", session.report.abandoned);
  }
  return {"slot", true, evidence.empty() ? "none" : evidence};
}

Hop attempt_hop(const Facts& facts) {
  if (facts.attempts.empty()) return {"attempt", true, "none yet"};
  const Attempt& last = facts.attempts.back();
  std::string evidence =
      fmt::format("{} of {}: ", facts.task.live.charged,
                  facts.task.live.budget > 0    ? std::to_string(facts.task.live.budget)
                  : facts.task.max_attempts > 0 ? std::to_string(facts.task.max_attempts)
                                                : std::string("unlimited"));
  evidence = "charged " + evidence + fmt::format("number {}", last.number);
  if (last.started_at) evidence += fmt::format(", started {}", to_rfc3339(*last.started_at));
  if (last.end)
    evidence += fmt::format(", ended {}", to_string(*last.end));
  else
    evidence += ", running";
  if (!last.error.kind.empty())
    evidence += fmt::format(" ({}: {})", last.error.kind, last.error.message);
  return {"attempt", true, evidence};
}

// One more than the limit that is reached.
std::string raise_command(const Facts& facts, bool of_queue) {
  if (of_queue)
    return fmt::format("opscore queues set {} --concurrency {}", facts.queue->name,
                       facts.queue->limits.in_force(&QueueLimits::concurrency) + 1);
  return fmt::format("opscore actors set {} --concurrency {}", facts.actor->type,
                     facts.actor->concurrency_in_force() + 1);
}

std::string command_for(const Diagnosis& diagnosis, const Facts& facts, const std::string& id) {
  // Nothing else helps before a server runs.
  if (facts.server_down && !is_terminal(facts.task.state())) return "opscore up";
  switch (diagnosis.verdict) {
    case Verdict::completed:
      return fmt::format("opscore tasks show {}", id);
    case Verdict::failed:
    case Verdict::cancelled:
      return fmt::format("opscore tasks retry {}", id);
    case Verdict::queue_paused:
      return fmt::format("opscore queues resume {}", facts.task.queue);
    case Verdict::server_down:
      return "opscore up";
    case Verdict::no_worker:
      return "opscore workers list";
    case Verdict::no_actor:
      return "opscore actors";
    case Verdict::limit_reached:
      return raise_command(facts, diagnosis.broken_hop == "queue");
    case Verdict::slots_busy:
      return fmt::format("opscore tasks list --status running");
    case Verdict::lease_lost:
    case Verdict::not_handed_over:
      return "opscore workers list";
    case Verdict::handed_to_dramatiq:
    case Verdict::unheard:
      return fmt::format("opscore broker inspect {}", facts.task.queue);
    case Verdict::waiting_for_retry:
    case Verdict::not_started:
      return fmt::format("opscore tasks show {}", id);
    default:
      return fmt::format("opscore tasks watch {}", id);
  }
}

}  // namespace

Explanation explain(Store& store, const Clock& clock, std::string_view task_id, bool server_down) {
  Facts facts = gather(store, clock, task_id, server_down);
  Diagnosis diagnosis = diagnose(facts);
  Explanation explanation;
  explanation.task_id = store.id_of(facts.task);
  explanation.state = to_string(facts.task.state());
  std::vector<Hop> hops{record_hop(facts), queue_hop(facts)};
  // What is run outside needs neither session nor slot of ours.
  if (facts.task.live.claimable()) hops.insert(hops.end(), {session_hop(facts), slot_hop(facts)});
  hops.push_back(attempt_hop(facts));
  for (Hop& hop : hops) {
    hop.ok = hop.name != diagnosis.broken_hop;
    explanation.hops.push_back(hop);
    if (!hop.ok) break;
  }
  explanation.verdict = to_string(diagnosis.verdict);
  explanation.sentence = diagnosis.sentence;
  explanation.next_command = command_for(diagnosis, facts, explanation.task_id);
  return explanation;
}

Json to_json(const Explanation& explanation) {
  Json hops = Json::array();
  for (const Hop& hop : explanation.hops)
    hops.push_back({{"hop", hop.name}, {"ok", hop.ok}, {"evidence", hop.evidence}});
  return {{"task_id", explanation.task_id},
          {"status", explanation.state},
          {"hops", hops},
          {"verdict", explanation.verdict},
          {"sentence", explanation.sentence},
          {"next_command", explanation.next_command}};
}

std::string to_text(const Explanation& explanation) {
  std::string text = fmt::format("{}  {}\n", explanation.task_id, explanation.state);
  for (const Hop& hop : explanation.hops)
    text += fmt::format("  {} {:<8} {}\n", hop.ok ? "ok" : "->", hop.name, hop.evidence);
  text += fmt::format("{}: {}\n", explanation.verdict, explanation.sentence);
  text += fmt::format("next: {}\n", explanation.next_command);
  return text;
}

}  // namespace opscore
