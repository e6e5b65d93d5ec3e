#include "opscore/doctor/explain.h"

#include <fmt/format.h>

#include <algorithm>

#include "opscore/doctor/hops.h"
#include "opscore/engine/facts.h"
#include "opscore/engine/worker_diagnosis.h"

namespace opscore {
namespace {

constexpr size_t kHintsMax = 1000;
constexpr size_t kPage = 1000;
// Long enough to still know the session that a running task was leased to.
constexpr Duration kRemembered = std::chrono::hours(24);

// As RabbitMQ names what a task, or a queue of opscore, is about.
std::vector<std::string> broker_names(const std::string& queue, bool claimable, bool adopted) {
  std::vector<std::string> names;
  if (claimable) names.push_back("opscore." + queue);
  if (!claimable || adopted) names.insert(names.end(), {queue, queue + ".DQ", queue + ".XQ"});
  return names;
}

Facts gather(Store& store, const Clock& clock, Task task, const ExplainOptions& options,
             bool adopted) {
  const auto names = broker_names(task.queue, task.live.claimable(), adopted);
  Facts facts = gather_facts(store, clock, std::move(task), kRemembered);
  facts.server_down = options.server_down;
  // What has ended needs nobody any more.
  if (options.look_at_queues && !is_terminal(facts.task.state()))
    facts.broker = options.look_at_queues(names);
  return facts;
}

std::vector<OutboxRow> unsent_hints(Store& store, const std::string& queue) {
  auto rows = store.outbox().due(OutboxRow::Kind::token, kHintsMax);
  std::erase_if(rows, [&](const OutboxRow& row) { return row.destination != queue; });
  return rows;
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
    case Verdict::unconsumed:
      return fmt::format("opscore broker inspect {}", facts.task.queue);
    case Verdict::held:
      return "opscore doctor";
    case Verdict::waiting_for_retry:
    case Verdict::not_started:
      return fmt::format("opscore tasks show {}", id);
    default:
      return fmt::format("opscore tasks watch {}", id);
  }
}

// The task that waits on a queue longest, of its newest thousand; one that is due, if there is any.
std::optional<Task> longest_waiting(Store& store, const std::string& queue) {
  for (State state : {State::pending, State::scheduled}) {
    TaskFilter filter;
    filter.queue = queue;
    filter.states = StateSet(state);
    TaskPage page = store.reader().list(filter, std::nullopt, kPage);
    if (!page.tasks.empty()) return page.tasks.back();
  }
  return std::nullopt;
}

std::string worker_command(WorkerVerdict verdict, const Session& session) {
  switch (verdict) {
    case WorkerVerdict::worker_ended:
      return "opscore workers list --ended-within 1h";
    case WorkerVerdict::slots_abandoned:
    case WorkerVerdict::worker_busy:
    case WorkerVerdict::worker_draining:
      return "opscore tasks list --status running";
    case WorkerVerdict::broker_away:
    case WorkerVerdict::broker_refuses:
    case WorkerVerdict::adoption_stalled:
      return "opscore doctor";
    case WorkerVerdict::tasks_unstarted:
      return fmt::format("opscore workers drain worker-{}", session.id.value);
    default:
      return "opscore workers list";
  }
}

std::vector<Hop> worker_hops(const Session& session, TimePoint now) {
  const SessionReport& report = session.report;
  std::string loops;
  for (const auto& [loop, at] : report.loops)
    loops += fmt::format(", {} turned {} ago", loop, to_text(std::max(now - at, Duration(0))));
  std::string broker = "none: the store tells it of work";
  if (report.broker)
    broker = report.broker->where +
             (report.broker->problem.empty() ? ": connected" : ": " + report.broker->problem);
  return {
      {"session", true,
       fmt::format("{}, {} since {}, renewed {} ago{}", session.name,
                   session.ended_at ? "ended" : report.state, to_rfc3339(session.started_at),
                   to_text(std::max(now - session.renewed_at, Duration(0))), loops)},
      {"broker", true, broker},
      {"intake", true, fmt::format("{} claimed and not started", report.unstarted)},
      {"slot", true,
       fmt::format("{} of {} busy, {} abandoned", report.busy, report.slots, report.abandoned)}};
}

}  // namespace

Explanation explain(Store& store, const Clock& clock, std::string_view task_id,
                    const ExplainOptions& options) {
  auto key = store.reader().resolve(task_id);
  auto task = key ? store.reader().find(*key) : std::nullopt;
  if (!task)
    throw Error(Errc::not_found,
                fmt::format("no task '{}'; it may have been deleted, or its retention is "
                            "over. 'opscore tasks list' shows what there is",
                            task_id));
  auto origin = store.reader().origin(task->key);
  const Facts facts = gather(store, clock, std::move(*task), options, origin.has_value());
  Walk walk{facts, unsent_hints(store, facts.task.queue), std::move(origin),
            store.reader().steps(facts.task.key)};
  const Diagnosis diagnosis = diagnose(facts);
  Explanation explanation;
  explanation.name = store.id_of(facts.task);
  explanation.state = to_string(facts.task.state());
  explanation.hops = hops_of(walk);
  cut_at(explanation.hops, diagnosis.broken_hop);
  explanation.verdict = to_string(diagnosis.verdict);
  explanation.sentence = diagnosis.sentence;
  explanation.next_command = command_for(diagnosis, facts, explanation.name);
  return explanation;
}

Explanation explain_queue(Store& store, const Clock& clock, const std::string& queue,
                          const ExplainOptions& options) {
  std::optional<QueueStats> stats;
  for (QueueStats& each : store.reader().queues())
    if (each.name == queue) stats = std::move(each);
  if (!stats)
    throw Error(Errc::not_found, fmt::format("no queue '{}' has tasks or settings; 'opscore queues "
                                             "list' shows those that do",
                                             queue));
  Explanation explanation;
  explanation.of = "queue";
  explanation.name = queue;
  explanation.state = stats->paused ? "paused" : "active";
  auto task = longest_waiting(store, queue);
  const bool waits = task.has_value();
  if (!waits) {
    task.emplace();
    task->queue = queue;
  }
  const Facts facts = gather(store, clock, std::move(*task), options, /*adopted=*/true);
  explanation.hops = {queue_hop(facts), broker_hop(facts)};
  if (!waits) {
    explanation.verdict = "nothing_waits";
    explanation.sentence =
        fmt::format("No task waits on queue '{}'; {} run.", queue, stats->running);
    explanation.next_command = "opscore queues list";
    return explanation;
  }
  if (facts.task.live.claimable())
    explanation.hops.insert(explanation.hops.end(),
                            {session_hop(facts), intake_hop(facts), slot_hop(facts)});
  const Diagnosis diagnosis = diagnose(facts);
  const std::string id = store.id_of(facts.task);
  cut_at(explanation.hops, diagnosis.broken_hop);
  explanation.verdict = to_string(diagnosis.verdict);
  explanation.sentence = fmt::format("Of what waits, {} waits longest: {}", id, diagnosis.sentence);
  explanation.next_command = command_for(diagnosis, facts, id);
  return explanation;
}

Explanation explain_worker(Store& store, const Clock& clock, std::string_view worker,
                           const ExplainOptions& options) {
  const Session session = find_worker(store, worker, kRemembered);
  const WorkerDiagnosis diagnosis = diagnose_worker(session, clock.now());
  Explanation explanation;
  explanation.of = "worker";
  explanation.name = fmt::format("worker-{}", session.id.value);
  explanation.state = session.ended_at ? "ended" : session.report.state;
  explanation.hops = worker_hops(session, clock.now());
  cut_at(explanation.hops, diagnosis.broken_hop);
  explanation.verdict = to_string(diagnosis.verdict);
  explanation.sentence = diagnosis.sentence;
  explanation.next_command =
      options.server_down ? "opscore up" : worker_command(diagnosis.verdict, session);
  return explanation;
}

Json to_json(const Explanation& explanation) {
  Json hops = Json::array();
  for (const Hop& hop : explanation.hops)
    hops.push_back({{"hop", hop.name}, {"ok", hop.ok}, {"evidence", hop.evidence}});
  return {{explanation.of, explanation.name},
          {"status", explanation.state},
          {"hops", hops},
          {"verdict", explanation.verdict},
          {"sentence", explanation.sentence},
          {"next_command", explanation.next_command}};
}

std::string to_text(const Explanation& explanation) {
  std::string text = fmt::format("{}  {}\n", explanation.name, explanation.state);
  for (const Hop& hop : explanation.hops)
    text += fmt::format("  {} {:<8} {}\n", hop.ok ? "ok" : "->", hop.name, hop.evidence);
  text += fmt::format("{}: {}\n", explanation.verdict, explanation.sentence);
  text += fmt::format("next: {}\n", explanation.next_command);
  return text;
}

}  // namespace opscore
