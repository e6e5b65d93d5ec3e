#include "opscore/doctor/auditor.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace opscore {
namespace {

constexpr Duration kEvery = std::chrono::minutes(1);
constexpr Duration kAgain = std::chrono::seconds(10);  // when there is something to be sure of
constexpr Duration kStalled = std::chrono::minutes(2);
constexpr Duration kSuspectPatience = std::chrono::minutes(10);
constexpr size_t kPage = 1000;
constexpr size_t kPages = 10;  // what there is more of is not counted

constexpr std::array kWords{"running_without_lease", "counters_wrong", "outbox_stalled",
                            "suspect_stalled"};

std::string_view to_string(OutboxRow::Kind kind) {
  constexpr std::string_view kKinds[] = {"hints", "messages for Dramatiq", "webhooks"};
  return kKinds[static_cast<size_t>(kind)];
}

// Finished tasks are not counted: there are too many.
constexpr std::array kCounted{State::pending, State::scheduled, State::running, State::waiting};

int64_t counted(const QueueStats& queue, State state) {
  switch (state) {
    case State::pending:
      return queue.pending;
    case State::scheduled:
      return queue.scheduled;
    case State::running:
      return queue.running;
    default:
      return queue.waiting;
  }
}

// All tasks in a state, newest first; nothing when there are too many.
std::optional<std::vector<Task>> all_in(TaskReader& reader, State state) {
  TaskFilter filter;
  filter.states = StateSet(state);
  std::vector<Task> tasks;
  std::optional<TaskKey> before;
  for (size_t i = 0; i < kPages; ++i) {
    TaskPage page = reader.list(filter, before, kPage);
    std::ranges::move(page.tasks, std::back_inserter(tasks));
    before = page.next;
    if (!before) return tasks;
  }
  return std::nullopt;
}

bool has_room(const AuditFacts& facts, const Task& task) {
  return std::ranges::any_of(facts.sessions, [&](const Session& session) {
    return is_live(session, facts.now) && serves(session, task.queue) && runs(session, task.type) &&
           session.report.busy < session.report.slots;
  });
}

void add_running(const AuditFacts& facts, std::vector<Violation>& violations) {
  for (const Task& task : facts.running) {
    if (!task.live.claimable()) continue;  // ExternalWatch looks after these
    const bool leased = std::ranges::any_of(
        facts.sessions, [&](const Session& session) { return session.id == task.live.session; });
    if (leased) continue;
    violations.push_back(
        {AuditRule::running_without_lease, fmt::format("{}/{}", task.key.value, task.live.attempt),
         fmt::format("task {} of type {} runs as attempt {} since {}, and session {}, which has "
                     "it, is not there",
                     task.key.value, task.type, task.live.attempt, to_rfc3339(task.live.claimed_at),
                     task.live.session.value),
         task.live.session});
  }
}

}  // namespace

std::string_view to_string(AuditRule rule) {
  return kWords.at(static_cast<size_t>(rule));
}

std::vector<Violation> find_violations(const AuditFacts& facts) {
  std::vector<Violation> violations;
  add_running(facts, violations);
  for (const AuditFacts::Count& count : facts.counts)
    if (count.counted != count.rows)
      violations.push_back({AuditRule::counters_wrong,
                            fmt::format("{}/{}", count.queue, to_string(count.state)),
                            fmt::format("queue {} counts {} {} tasks and has {}", count.queue,
                                        count.counted, to_string(count.state), count.rows),
                            {}});
  for (const auto& [kind, due_at] : facts.oldest_due)
    if (facts.now - due_at > kStalled)
      violations.push_back({AuditRule::outbox_stalled,
                            std::string(to_string(kind)),
                            fmt::format("{} in the outbox are due since {} and nobody has taken "
                                        "them",
                                        to_string(kind), to_rfc3339(due_at)),
                            {}});
  for (const Task& task : facts.suspects)
    if (facts.now - task.live.run_at > kSuspectPatience && has_room(facts, task))
      violations.push_back(
          {AuditRule::suspect_stalled,
           std::to_string(task.key.value),
           fmt::format("suspect {} of type {} is due since {}, and a worker that can run it has "
                       "room",
                       task.key.value, task.type, to_rfc3339(task.live.run_at)),
           {}});
  return violations;
}

Auditor::Auditor(Store& store, const Clock& clock, Log& log, Metrics& metrics)
    : store_(store),
      clock_(clock),
      log_(log),
      metrics_(metrics),
      repaired_(metrics.counter("opscore_audit_repairs_total",
                                "Violations that the auditor has repaired.")) {}

void Auditor::tick() {
  if (clock_.steady() < due_at_) return;
  due_at_ = clock_.steady() + kEvery;
  audit();
  if (suspected_ != told_) due_at_ = clock_.steady() + kAgain;
}

AuditFacts Auditor::gather() {
  AuditFacts facts;
  count_rows(facts);
  // Of those that are running now, the sessions are asked for afterwards: one that has claimed
  // since had been there before.
  facts.sessions = store_.fleet().sessions(Duration(0));
  facts.now = clock_.now();
  for (auto kind : {OutboxRow::Kind::token, OutboxRow::Kind::amqp, OutboxRow::Kind::effect})
    for (const OutboxRow& row : store_.outbox().due(kind, 1))
      facts.oldest_due[kind] = row.not_before;
  return facts;
}

// Counters are compared where nothing happened while the rows were read.
void Auditor::count_rows(AuditFacts& facts) {
  std::map<std::pair<std::string, State>, int64_t> rows;
  std::vector<State> complete;
  const std::vector<QueueStats> before = store_.reader().queues();
  for (State state : kCounted) {
    auto tasks = all_in(store_.reader(), state);
    if (!tasks) continue;
    complete.push_back(state);
    for (const Task& task : *tasks) {
      ++rows[{task.queue, state}];
      if (state == State::pending && task.live.suspect) facts.suspects.push_back(task);
    }
    if (state == State::running) facts.running = std::move(*tasks);
  }
  const std::vector<QueueStats> after = store_.reader().queues();
  for (const QueueStats& now : after) {
    auto old = std::ranges::find(before, now.name, &QueueStats::name);
    if (old == before.end()) continue;
    const bool is_quiet = std::ranges::all_of(
        kCounted, [&](State state) { return counted(*old, state) == counted(now, state); });
    if (!is_quiet || old->completed != now.completed || old->dead != now.dead) continue;
    for (State state : complete)
      facts.counts.push_back({now.name, state, counted(now, state), rows[{now.name, state}]});
  }
}

std::vector<Violation> Auditor::audit() {
  std::vector<Violation> found = find_violations(gather());
  std::set<std::pair<AuditRule, std::string>> seen;
  for (const Violation& violation : found) seen.insert({violation.rule, violation.subject});
  // What is there once may be a change that was under way.
  std::erase_if(found, [&](const Violation& violation) {
    return !suspected_.contains({violation.rule, violation.subject});
  });
  suspected_ = std::move(seen);
  std::map<AuditRule, int> counts;
  std::set<std::pair<AuditRule, std::string>> told;
  for (const Violation& violation : found) {
    ++counts[violation.rule];
    const std::pair key{violation.rule, violation.subject};
    if (!told_.contains(key))
      log_.error("audit: {}: {}", to_string(violation.rule), violation.evidence);
    told.insert(key);
    repair(violation);
  }
  told_ = std::move(told);
  for (int i = 0; i <= static_cast<int>(kLastAuditRule); ++i) {
    const auto rule = static_cast<AuditRule>(i);
    metrics_.set_gauge("opscore_audit_violations", "What the last audit has found, by rule.",
                       counts[rule], {{"rule", std::string(to_string(rule))}});
  }
  return found;
}

// A session that is not there cannot finish anything, so ending it again harms nobody.
void Auditor::repair(const Violation& violation) {
  if (!violation.lost) return;
  LostSession lost;
  lost.session = violation.lost;
  lost.words = fmt::format("session {} is not there", violation.lost.value);
  const size_t count = store_.tasks().rescue(lost);
  if (count == 0) return;
  repaired_.add(static_cast<double>(count));
  log_.warn("audit: gave back {} attempts of session {}", count, violation.lost.value);
}

}  // namespace opscore
