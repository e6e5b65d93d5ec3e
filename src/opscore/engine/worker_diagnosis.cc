#include "opscore/engine/worker_diagnosis.h"

#include <fmt/format.h>

#include <array>

#include "opscore/engine/diagnosis.h"
#include "opscore/model/limits.h"

namespace opscore {
namespace {

constexpr std::array kWords{"worker_ended",    "worker_silent",   "worker_starting",
                            "worker_draining", "slots_abandoned", "tasks_unstarted",
                            "broker_away",     "broker_refuses",  "adoption_stalled",
                            "worker_busy",     "worker_ready",    "maintains"};

std::optional<WorkerDiagnosis> diagnose_presence(const Session& session, TimePoint now) {
  const std::string& state = session.report.state;
  if (session.ended_at)
    return WorkerDiagnosis{
        WorkerVerdict::worker_ended,
        fmt::format("It ended at {}: {}", to_rfc3339(*session.ended_at),
                    session.last_words.empty() ? "it left no last words." : session.last_words),
        "session"};
  if (!is_live(session, now))
    return WorkerDiagnosis{
        WorkerVerdict::worker_silent,
        fmt::format("It has not renewed its session for {}: its process is gone, stopped, or cut "
                    "off from the store; what it runs is given back.",
                    to_text(now - session.renewed_at)),
        "session"};
  if (state == "leading" || state == "standby")
    return WorkerDiagnosis{WorkerVerdict::maintains,
                           state == "leading" ? "It does maintenance for all."
                                              : "It is ready to do maintenance, when the leader "
                                                "ends.",
                           std::nullopt};
  // A broker that is away keeps a worker connecting: see diagnose_work().
  const bool has_broker = !session.report.broker || session.report.broker->problem.empty();
  if ((state == "starting" || state == "connecting") && has_broker)
    return WorkerDiagnosis{
        WorkerVerdict::worker_starting,
        fmt::format("It is {} since {}: {}.", state, to_rfc3339(session.started_at),
                    session.report.canary.words.empty() ? "no task has got through it yet"
                                                        : session.report.canary.words),
        "session"};
  if (state == "draining")
    return WorkerDiagnosis{WorkerVerdict::worker_draining,
                           fmt::format("It was asked to end: it takes no tasks, and waits for {} "
                                       "that run.",
                                       session.report.busy),
                           "session"};
  return std::nullopt;
}

// Of one that is there: the store's side first, since without it nothing runs.
std::optional<WorkerDiagnosis> diagnose_work(const SessionReport& report, TimePoint now) {
  if (report.abandoned > 0)
    return WorkerDiagnosis{
        WorkerVerdict::slots_abandoned,
        fmt::format("{} of {} slots are held by actors that were asked to stop and do not; at a "
                    "quarter it restarts.",
                    report.abandoned, report.slots),
        "slot"};
  if (report.oldest_unstarted_at && now - *report.oldest_unstarted_at > limits::kUnstarted * 3)
    return WorkerDiagnosis{WorkerVerdict::tasks_unstarted,
                           fmt::format("{} tasks are claimed, the oldest since {}, and no slot "
                                       "takes them.",
                                       report.unstarted, to_rfc3339(*report.oldest_unstarted_at)),
                           "intake"};
  if (report.broker && !report.broker->problem.empty())
    return WorkerDiagnosis{WorkerVerdict::broker_away,
                           "It polls the store, since RabbitMQ is away: " + report.broker->problem,
                           "broker"};
  if (report.broker && !report.broker->refused.empty())
    return WorkerDiagnosis{WorkerVerdict::broker_refuses,
                           "RabbitMQ refuses it a queue: " + report.broker->refused.begin()->second,
                           "broker"};
  if (!report.adoption_problem.empty())
    return WorkerDiagnosis{WorkerVerdict::adoption_stalled,
                           "It adopts no messages of Dramatiq: " + report.adoption_problem,
                           "broker"};
  return std::nullopt;
}

}  // namespace

std::string_view to_string(WorkerVerdict verdict) {
  return kWords.at(static_cast<size_t>(verdict));
}

WorkerDiagnosis diagnose_worker(const Session& session, TimePoint now) {
  if (auto presence = diagnose_presence(session, now)) return *presence;
  const SessionReport& report = session.report;
  if (auto work = diagnose_work(report, now)) return *work;
  if (report.busy >= report.slots)
    return {WorkerVerdict::worker_busy,
            fmt::format("All of its {} slots run tasks; it claims more when one is free.",
                        report.slots),
            std::nullopt};
  return {WorkerVerdict::worker_ready,
          fmt::format("It works: {} of {} slots run tasks, and it takes what is due.", report.busy,
                      report.slots),
          std::nullopt};
}

}  // namespace opscore
