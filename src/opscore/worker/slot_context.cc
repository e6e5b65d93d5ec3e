#include "opscore/worker/slot_context.h"

#include <algorithm>

#include "opscore/base/json.h"
#include "opscore/model/decide.h"

namespace opscore {

void ProgressBox::put(std::string json) {
  MutexLock lock(mutex_);
  value_ = std::move(json);
}

std::optional<std::string> ProgressBox::take() {
  MutexLock lock(mutex_);
  return std::exchange(value_, std::nullopt);
}

const std::string& SlotContext::id() const {
  if (id_.empty()) id_ = parts_.store.id_of(parts_.task);
  return id_;
}

void SlotContext::progress(std::string json) {
  if (auto checked = check_json(json); !checked) throw checked.error().with_context("progress");
  parts_.progress.put(std::move(json));
  parts_.on_progress();
}

void SlotContext::log(LogLevel level, std::string_view line) {
  if (parts_.log.enabled(level))
    parts_.log.write(level, fmt::format("{} #{} {}: {}", id(), attempt(), type(), line));
}

void SlotContext::notice(Notice notice) {
  if (std::find(notices_.begin(), notices_.end(), notice) == notices_.end())
    notices_.push_back(std::move(notice));
}

// An edited input starts a journal of its own: what was done for another input is history.
void TaskJournal::read() {
  steps_ = store_.reader().steps(task_.key);
  if (task_.live.edits == 0) return;
  int edited_after = 0;  // the last attempt that had the earlier input
  for (const TaskEvent& event : store_.reader().events(task_.key))
    if (event.kind == event_kind::kEditedRetry) edited_after = event.attempt;
  steps_before_ = static_cast<int>(
      std::erase_if(*steps_, [&](const Step& step) { return step.attempt <= edited_after; }));
}

std::optional<std::string> TaskJournal::next(const std::string& kind, const std::string& name,
                                             const std::string& request) {
  if (!steps_) read();
  if (++next_ > steps_->size()) return std::nullopt;
  const Step& recorded = (*steps_)[next_ - 1];
  if (recorded.kind != kind || recorded.name != name || recorded.request != request)
    throw JournalMismatch(fmt::format(
        "step {}: the journal has {} '{}' with request {}, the code asks for {} '{}' with "
        "request {}; retry with the code that wrote the journal, or submit a new task",
        steps_before_ + static_cast<int>(next_), recorded.kind, recorded.name,
        recorded.request.substr(0, 200), kind, name, request.substr(0, 200)));
  return recorded.response;
}

void TaskJournal::record(const std::string& kind, const std::string& name,
                         const std::string& request, const std::string& answer, TimePoint at,
                         Duration took) {
  const Step step{number(), kind, name, request, answer, task_.live.attempt, at, took};
  if (store_.tasks().append_step(task_.lease(), step) == Applied::lease_lost)
    throw Error(Errc::conflict, fmt::format("step {} of {}: the attempt was taken away meanwhile",
                                            number(), store_.id_of(task_)));
}

std::string SlotContext::step(const std::string& kind, const std::string& name,
                              const std::string& request,
                              const std::function<std::string()>& action) {
  if (auto recorded = journal_.next(kind, name, request)) return *recorded;
  const TimePoint at = parts_.clock.now();
  const SteadyPoint began = parts_.clock.steady();
  std::string answer = action();
  journal_.record(kind, name, request, answer, at,
                  std::chrono::duration_cast<Duration>(parts_.clock.steady() - began));
  return answer;
}

}  // namespace opscore
