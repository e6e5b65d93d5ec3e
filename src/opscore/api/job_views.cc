#include "opscore/api/views.h"

namespace opscore {
namespace {

void append_states(std::string& out, StateSet states) {
  std::vector<std::string_view> words;
  for (int i = 0; i < kStateCount; ++i)
    if (states.has(static_cast<State>(i))) words.push_back(to_string(static_cast<State>(i)));
  append_array(out, words, append_quoted);
}

}  // namespace

void append_filter(std::string& out, const TaskFilter& filter) {
  JsonObject object(out);
  object.raw("status", {});
  append_states(out, filter.states);
  if (!filter.type.empty()) object.text("task_type", filter.type);
  if (!filter.queue.empty()) object.text("queue", filter.queue);
  if (!filter.labels.empty()) {
    object.raw("label", {});
    append_array(out, filter.labels, [](std::string& to, const auto& label) {
      append_quoted(to, label.first + ":" + label.second);
    });
  }
  if (filter.created_since) object.time("created_after", *filter.created_since);
  if (filter.created_before) object.time("created_before", *filter.created_before);
  object.close();
}

void append_skipped(std::string& out, const std::map<std::string, int64_t>& skipped) {
  JsonObject object(out);
  for (const auto& [reason, count] : skipped) object.number(reason, count);
  object.close();
}

void append_job(std::string& out, const Job& job) {
  JsonObject object(out);
  object.word("job_id", BulkJobs::id_of(job.id));
  object.word("action", to_string(job.action));
  object.word("state", to_string(job.state));
  object.raw("filter", {});
  append_filter(out, job.filter);
  object.number("examined", job.counts.examined);
  object.number("matched", job.counts.matched);
  object.number("done", job.counts.done);
  object.raw("skipped", {});
  append_skipped(out, job.counts.skipped);
  object.raw("progress", fmt::format("{:.3f}", job.progress()));
  if (job.cursor.value > 0)
    object.word("cursor", std::to_string(job.cursor.value));
  else
    object.null("cursor");
  if (job.action == JobAction::export_tasks) object.number("bytes", job.bytes);
  object.time("created_at", job.created_at);
  object.time("started_at", job.started_at);
  object.time("ended_at", job.ended_at);
  object.text_or_null("error", job.error);
  object.close();
}

}  // namespace opscore
