#include "opscore/engine/mirror.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>

#include "opscore/base/json.h"
#include "opscore/model/handover.h"

namespace opscore {
namespace {

// A decision that lost its race is made again from what is there now.
constexpr int kTries = 8;
constexpr std::array<std::string_view, 4> kWords{"applied", "known", "too_old", "unknown"};

ReportAnswer answer_of(Heard heard) {
  switch (heard) {
    case Heard::news:
      return ReportAnswer::applied;
    case Heard::known:
      return ReportAnswer::known;
    case Heard::too_old:
      return ReportAnswer::too_old;
  }
  return ReportAnswer::unknown;
}

}  // namespace

std::string_view to_string(ReportAnswer answer) {
  return kWords[static_cast<size_t>(answer)];
}

// Reports by the task that they are about, as far as they are answered.
struct Mirror::Batch {
  std::vector<MirroredReport> reports;
  std::vector<std::optional<ReportAnswer>> answers;
  std::vector<std::optional<TaskKey>> keys;
};

Mirror::Mirror(Store& store, const Clock& clock, Metrics& metrics, size_t result_bytes_max)
    : store_(store), clock_(clock), result_bytes_max_(result_bytes_max), metrics_(metrics) {}

std::vector<ReportAnswer> Mirror::hear(std::vector<MirroredReport> reports) {
  Batch batch;
  batch.reports = std::move(reports);
  batch.answers.resize(batch.reports.size());
  std::map<std::string, std::optional<TaskKey>> known;
  for (size_t i = 0; i < batch.reports.size(); ++i) {
    MirroredReport& heard = batch.reports[i];
    auto [place, is_new] = known.try_emplace(heard.message_id);
    if (is_new)
      if (auto task = find(heard.message_id)) place->second = task->key;
    batch.keys.push_back(place->second);
    if (!place->second) batch.answers[i] = ReportAnswer::unknown;
  }
  for (int tries = 0; !settle(batch); ++tries)
    if (tries == kTries)
      throw Error(Errc::unavailable, "reports: the tasks keep changing; send them again");
  refresh(batch);
  std::vector<ReportAnswer> answers;
  for (const auto& answer : batch.answers) {
    answers.push_back(*answer);
    metrics_
        .counter("opscore_dramatiq_reports_total", "Reports of Python's workers, by answer.",
                 {{"answer", std::string(to_string(*answer))}})
        .add();
  }
  return answers;
}

std::optional<Task> Mirror::find(const std::string& message_id) {
  for (const std::string& id : task_ids_of(message_id)) {
    auto key = store_.reader().resolve(id);
    auto task = key ? store_.reader().find(*key) : std::nullopt;
    if (task && task->options.is_external()) return task;
  }
  return std::nullopt;
}

// A result that cannot be kept is dropped, and the task says so. Clocks of other machines are not
// to be trusted: nothing happened before the task was made, or later than now.
Mirrored Mirror::decide(const Task& task, MirroredReport heard) const {
  Report& report = heard.report;
  const TimePoint made = task.created_at();
  report.at = std::clamp(report.at, made, std::max(clock_.now(), made));
  if (report.started_at) report.started_at = std::clamp(*report.started_at, made, report.at);
  if (report.result.size() > result_bytes_max_) {
    heard.problem =
        fmt::format("it is {} bytes; at most {}", report.result.size(), result_bytes_max_);
    report.result = "null";
  }
  Mirrored mirrored = decide_report(task, report);
  if (!heard.problem.empty() && !mirrored.plans.empty())
    mirrored.plans.back().events.push_back(
        {0, report.at, event_kind::kResultNotKept, report.attempt,
         fmt::format(R"({{"reason":{}}})", quote_json(heard.problem))});
  return mirrored;
}

bool Mirror::settle(Batch& batch) {
  std::map<TaskKey, std::optional<Task>> tasks;  // as they are after what was decided
  std::vector<Plan> plans;
  std::vector<size_t> decided;  // reports
  for (size_t i = 0; i < batch.reports.size(); ++i) {
    if (batch.answers[i]) continue;
    auto [place, is_new] = tasks.try_emplace(*batch.keys[i]);
    std::optional<Task>& task = place->second;
    if (is_new) task = store_.reader().find(*batch.keys[i]);
    if (!task) {
      batch.answers[i] = ReportAnswer::unknown;
      continue;
    }
    Mirrored mirrored = decide(*task, batch.reports[i]);
    for (Plan& plan : mirrored.plans) {
      follow(*task, plan);
      plans.push_back(std::move(plan));
    }
    batch.answers[i] = answer_of(mirrored.heard);
    decided.push_back(i);
  }
  std::set<TaskKey> lost = apply(std::move(plans));
  // What of theirs was applied is known the second time, which changes nothing.
  for (size_t i : decided)
    if (lost.contains(*batch.keys[i])) batch.answers[i].reset();
  return lost.empty();
}

// The tasks of which a plan came too late.
std::set<TaskKey> Mirror::apply(std::vector<Plan> plans) {
  std::set<TaskKey> lost;
  if (plans.empty()) return lost;
  std::vector<TaskKey> keys;
  for (const Plan& plan : plans) keys.push_back(plan.key);
  auto applied = store_.tasks().apply(std::move(plans));
  for (size_t i = 0; i < applied.size(); ++i)
    if (applied[i] == Applied::lease_lost) lost.insert(keys[i]);
  return lost;
}

// Whatever was heard of an attempt that runs says that it is in good hands.
void Mirror::refresh(const Batch& batch) {
  std::vector<Lease> running;
  std::vector<ProgressUpdate> progress;
  for (size_t i = 0; i < batch.reports.size(); ++i) {
    const MirroredReport& heard = batch.reports[i];
    if (heard.report.kind != Report::Kind::running) continue;
    if (batch.answers[i] != ReportAnswer::applied && batch.answers[i] != ReportAnswer::known)
      continue;
    const Lease lease{*batch.keys[i], heard.report.attempt};
    if (batch.answers[i] == ReportAnswer::known) running.push_back(lease);
    if (!heard.progress.empty()) progress.push_back({lease, heard.progress});
  }
  if (!running.empty()) store_.fleet().extend(running, clock_.now() + limits::kExternalDoubt);
  if (!progress.empty()) store_.tasks().record_progress(std::move(progress));
}

}  // namespace opscore
