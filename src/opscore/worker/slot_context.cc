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
void SlotContext::read_journal() {
  journal_ = parts_.store.reader().steps(parts_.task.key);
  if (parts_.task.live.edits == 0) return;
  int edited_after = 0;  // the last attempt that had the earlier input
  for (const TaskEvent& event : parts_.store.reader().events(parts_.task.key))
    if (event.kind == event_kind::kEditedRetry) edited_after = event.attempt;
  steps_before_ = static_cast<int>(
      std::erase_if(*journal_, [&](const Step& step) { return step.attempt <= edited_after; }));
}

std::string SlotContext::step(const std::string& kind, const std::string& name,
                              const std::string& request,
                              const std::function<std::string()>& action) {
  if (!journal_) read_journal();
  const int number = steps_before_ + static_cast<int>(++next_step_);
  if (next_step_ <= journal_->size()) {
    const Step& recorded = (*journal_)[next_step_ - 1];
    if (recorded.kind != kind || recorded.name != name || recorded.request != request)
      throw JournalMismatch(fmt::format(
          "step {}: the journal has {} '{}' with request {}, the code asks for {} '{}' with "
          "request {}; retry with the code that wrote the journal, or submit a new task",
          number, recorded.kind, recorded.name, recorded.request.substr(0, 200), kind, name,
          request.substr(0, 200)));
    return recorded.response;
  }
  Step step{number, kind, name, request, {}, attempt(), parts_.clock.now(), {}};
  SteadyPoint began = parts_.clock.steady();
  step.response = action();
  step.took = std::chrono::duration_cast<Duration>(parts_.clock.steady() - began);
  if (parts_.store.tasks().append_step(parts_.task.lease(), step) == Applied::lease_lost)
    throw Error(Errc::conflict,
                fmt::format("step {} of {}: the attempt was taken away meanwhile", number, id()));
  return step.response;
}

}  // namespace opscore
