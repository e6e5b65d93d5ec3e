#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>

#include "opscore/doctor/checks.h"
#include "opscore/engine/diagnosis.h"
#include "opscore/model/limits.h"

namespace opscore {
namespace {

Json context_of(const Session& session) {
  Json context = Json::parse(session.context, nullptr, false);
  return context.is_object() ? context : Json::object();
}

std::string words_of(const Session& session) {
  return fmt::format("worker-{} ({})", session.id.value, session.name);
}

// One finding for all sessions that differ, so that a fleet does not fill the screen.
void add_differing(const FleetFacts& facts, std::vector<Finding>& findings, Finding finding,
                   const std::function<std::string(const Json& context)>& difference) {
  std::vector<std::string> differing;
  for (const Session& session : facts.sessions)
    if (is_live(session, facts.now))
      if (std::string words = difference(context_of(session)); !words.empty())
        differing.push_back(words_of(session) + " " + words);
  if (differing.empty()) return;
  finding.evidence = fmt::format("{}", fmt::join(differing, "; "));
  findings.push_back(std::move(finding));
}

void add_strangers(const FleetFacts& facts, std::vector<Finding>& findings) {
  const auto text = [](const Json& context, const char* name) {
    return context.contains(name) && context[name].is_string() ? context[name].get<std::string>()
                                                               : std::string();
  };
  add_differing(facts, findings,
                {Ailment::other_version, "",
                 fmt::format("This program is opscore {}: tasks may run with code that is not "
                             "what you look at.",
                             facts.version),
                 "opscore workers list"},
                [&](const Json& context) {
                  std::string version = text(context, "version");
                  return version.empty() || version == facts.version ? "" : "is opscore " + version;
                });
  add_differing(facts, findings,
                {Ailment::other_host, "",
                 fmt::format("This is {}. Workers of other machines on the same store are fine "
                             "when they are meant; a forgotten one takes tasks, too.",
                             facts.host),
                 "opscore workers list"},
                [&](const Json& context) {
                  std::string host = text(context, "host");
                  return host.empty() || host == facts.host ? "" : "is on " + host;
                });
  add_differing(facts, findings,
                {Ailment::other_checkout, "",
                 fmt::format("This program is {}: a worker of another checkout takes tasks of the "
                             "same store, with its own configuration and actors.",
                             facts.executable),
                 "opscore workers list"},
                [&](const Json& context) {
                  std::string executable = text(context, "executable");
                  bool same = executable.empty() || executable == facts.executable ||
                              text(context, "host") != facts.host;
                  return same ? "" : fmt::format("runs {} in {}", executable, text(context, "cwd"));
                });
}

void add_troubles(const FleetFacts& facts, const Session& session, std::vector<Finding>& findings) {
  const SessionReport& report = session.report;
  std::vector<std::string> troubles;
  for (const auto& broker : {report.broker, report.dramatiq}) {
    if (!broker) continue;
    if (!broker->problem.empty()) troubles.push_back(broker->problem);
    if (!broker->blocked.empty()) troubles.push_back("RabbitMQ takes nothing: " + broker->blocked);
    for (const auto& [queue, why] : broker->refused) troubles.push_back("RabbitMQ refuses " + why);
  }
  if (!report.adoption_problem.empty()) troubles.push_back(report.adoption_problem);
  if (report.abandoned > 0)
    troubles.push_back(fmt::format("{} of {} slots are held by actors that do not stop",
                                   report.abandoned, report.slots));
  if (report.oldest_unstarted_at &&
      facts.now - *report.oldest_unstarted_at > limits::kUnstarted * 3)
    troubles.push_back(fmt::format("{} tasks are claimed and not started since {}",
                                   report.unstarted, to_rfc3339(*report.oldest_unstarted_at)));
  if (!troubles.empty())
    findings.push_back({Ailment::session_trouble,
                        fmt::format("{}: {}", words_of(session), fmt::join(troubles, "; ")),
                        "That is what the worker says of itself.",
                        fmt::format("opscore explain --worker worker-{}", session.id.value)});
}

void add_sessions(const FleetFacts& facts, std::vector<Finding>& findings) {
  bool any_live = false;
  for (const Session& session : facts.sessions) {
    const bool live = is_live(session, facts.now);
    any_live |= live;
    if (live)
      add_troubles(facts, session, findings);
    else
      findings.push_back({Ailment::session_silent,
                          fmt::format("{} has not renewed for {}", words_of(session),
                                      to_text(facts.now - session.renewed_at)),
                          "Its process is gone, stopped (SIGSTOP), or cannot reach the store. What "
                          "it runs is given back by whoever does maintenance.",
                          "opscore workers list"});
  }
  if (!any_live)
    findings.push_back({Ailment::nothing_runs, "there is no live session",
                        "Nothing takes tasks, and nothing does maintenance.", "opscore up"});
  else if (facts.unled_since)
    findings.push_back({Ailment::no_maintenance, unled_words(*facts.unled_since),
                        "What lost workers held is not given back; deadlines, webhooks and "
                        "pruning wait.",
                        "opscore maintenance"});
}

void add_waiting(const FleetFacts& facts, const FleetFacts::Waiting& waiting,
                 std::vector<Finding>& findings) {
  int serving = 0, able = 0;
  for (const Session& session : facts.sessions) {
    if (!is_live(session, facts.now) || !serves(session, waiting.queue)) continue;
    ++serving;
    able += runs(session, waiting.type);
  }
  if (able > 0) return;
  const std::string words =
      fmt::format("{} tasks of type {} on queue {} wait since {}, such as {}", waiting.tasks,
                  waiting.type, waiting.queue, to_rfc3339(waiting.since), waiting.example);
  if (serving == 0)
    findings.push_back({Ailment::queue_unserved, words, "No live worker serves that queue.",
                        fmt::format("opscore explain --queue {}", waiting.queue)});
  else
    findings.push_back({Ailment::type_unserved, words,
                        "Workers serve that queue, but none of them has the actor.",
                        "opscore actors"});
}

}  // namespace

std::vector<Finding> check_fleet(const FleetFacts& facts) {
  std::vector<Finding> findings;
  add_sessions(facts, findings);
  add_strangers(facts, findings);
  for (const QueueStats& queue : facts.queues)
    if (queue.paused && queue.pending > 0)
      findings.push_back(
          {Ailment::queue_paused,
           fmt::format("queue {} is paused and has {} due tasks", queue.name, queue.pending),
           "Somebody paused it; that survives restarts.",
           fmt::format("opscore queues resume {}", queue.name)});
  const bool any_live = std::any_of(facts.sessions.begin(), facts.sessions.end(),
                                    [&](const Session& s) { return is_live(s, facts.now); });
  if (any_live)
    for (const FleetFacts::Waiting& waiting : facts.waiting) add_waiting(facts, waiting, findings);
  return findings;
}

std::vector<Finding> check_server(const ServerFacts& facts, const FleetFacts& fleet) {
  if (!facts.answers || !facts.workers || facts.workers->empty()) return {};
  const bool shared =
      std::any_of(fleet.sessions.begin(), fleet.sessions.end(), [&](const Session& session) {
        return std::find(facts.workers->begin(), facts.workers->end(), session.name) !=
               facts.workers->end();
      });
  if (shared) return {};
  return {{Ailment::other_server,
           fmt::format("the server at {} has the workers {}, none of which is in this store",
                       facts.url, fmt::join(*facts.workers, ", ")),
           "It works on another store than the configuration here names: what is submitted to it "
           "is not what workers started here see.",
           "opscore config show"}};
}

}  // namespace opscore
