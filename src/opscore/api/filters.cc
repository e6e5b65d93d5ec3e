#include "opscore/api/filters.h"

#include <fmt/format.h>

#include <charconv>

#include "opscore/base/json_reader.h"

namespace opscore {
namespace {

constexpr size_t kPageDefault = 50;
constexpr size_t kPageMax = 1000;

// `field` is where the value stands: "status" in a query, "filter.status" in a body.
[[noreturn]] void refuse(const std::string& field, const std::string& message) {
  throw Error(Errc::invalid, field + ": " + message).at(field);
}

void add_states(StateSet& states, std::string_view text, const std::string& field) {
  for (size_t begin = 0; begin <= text.size();) {
    size_t end = std::min(text.find(',', begin), text.size());
    std::string_view word = text.substr(begin, end - begin);
    begin = end + 1;
    auto state = state_from(word);
    if (!state)
      refuse(field, fmt::format("'{}' is not one of scheduled, waiting, pending, running, "
                                "completed, failed, cancelled",
                                word));
    states.add(*state);
  }
}

std::pair<std::string, std::string> label_of(const std::string& text, const std::string& field) {
  size_t sign = text.find_first_of(":=");
  if (sign == std::string::npos || sign == 0)
    refuse(field, fmt::format("'{}' is not of the form name:value", text));
  return {text.substr(0, sign), text.substr(sign + 1)};
}

// In a query a + stands for a space: "2026-01-31T12:00:00+01:00" comes without it.
TimePoint time_of(std::string text, const std::string& field) {
  constexpr size_t kTime = 11;
  if (size_t sign = text.find(' ', kTime); sign != std::string::npos) text[sign] = '+';
  auto time = parse_rfc3339(text);
  if (!time) refuse(field, time.error().message());
  return *time;
}

// A text, or an array of them.
template <class F>
void each_text(JsonReader& in, F&& use) {
  if (in.peek() != JsonReader::Type::array) return use(in.string());
  in.array([&](size_t) { use(in.string()); });
}

// An empty name would match everything, and whoever sent it did not mean that.
std::string name_or_null(JsonReader& in) {
  if (in.null_or_skip_null()) return "";
  std::string name = in.string();
  if (name.empty()) in.fail(Errc::invalid, "is empty; leave it out instead");
  return name;
}

void read_filter_member(JsonReader& in, std::string_view name, JobRequest& request) {
  TaskFilter& filter = request.filter;
  std::string field = in.path();
  if (name == "status") {
    each_text(in, [&](const std::string& text) { add_states(filter.states, text, field); });
  } else if (name == "task_type" || name == "type") {
    std::string type = name_or_null(in);
    if (!filter.type.empty() && type != filter.type)
      in.fail(Errc::invalid,
              "there are both type and task_type, and they differ; give one of them");
    filter.type = std::move(type);
  } else if (name == "queue") {
    filter.queue = name_or_null(in);
  } else if (name == "label") {
    each_text(in, [&](const std::string& text) { filter.labels.push_back(label_of(text, field)); });
  } else if (name == "labels") {
    in.object([&](std::string_view label) { filter.labels.emplace_back(label, in.string()); });
  } else if (name == "created_after") {
    filter.created_since = time_of(in.string(), field);
  } else if (name == "created_before") {
    filter.created_before = time_of(in.string(), field);
  } else if (name == "all") {
    request.all = in.boolean();
  } else {
    in.fail(Errc::invalid,
            "unknown condition; there are status, task_type, queue, label, labels, created_after "
            "and created_before");
  }
}

JobAction read_action(JsonReader& in) {
  std::string word = in.string();
  auto action = job_action_from(word);
  if (!action)
    refuse("action", fmt::format("'{}' is not one of cancel, retry, delete, export", word));
  return *action;
}

}  // namespace

TaskFilter read_filter(const Query& query) {
  TaskFilter filter;
  for (const std::string& text : query.all("status")) add_states(filter.states, text, "status");
  auto type = query.one("task_type"), short_type = query.one("type");
  if (type && short_type && *type != *short_type)
    refuse("type", "is given together with task_type, and they differ; give one of them");
  filter.type = (type ? type : short_type).value_or("");
  filter.queue = query.one("queue").value_or("");
  for (const std::string& text : query.all("label"))
    filter.labels.push_back(label_of(text, "label"));
  if (auto text = query.one("created_after"))
    filter.created_since = time_of(*text, "created_after");
  if (auto text = query.one("created_before"))
    filter.created_before = time_of(*text, "created_before");
  return filter;
}

size_t read_limit(const Query& query) {
  auto text = query.one("limit");
  if (!text) return kPageDefault;
  size_t limit = 0;
  auto [end, code] = std::from_chars(text->data(), text->data() + text->size(), limit);
  if (code != std::errc() || end != text->data() + text->size() || limit < 1 || limit > kPageMax)
    refuse("limit", fmt::format("'{}' is not a number from 1 to {}", *text, kPageMax));
  return limit;
}

JobBody read_job(std::string_view body) {
  JobBody job;
  bool has_action = false;
  JsonReader in(body);
  in.object([&](std::string_view name) {
    if (name == "action") {
      job.request.action = read_action(in);
      has_action = true;
    } else if (name == "filter") {
      if (in.null_or_skip_null()) return;
      in.object([&](std::string_view member) { read_filter_member(in, member, job.request); });
    } else if (name == "all") {
      job.request.all = in.boolean();
    } else if (name == "dry_run") {
      job.dry_run = in.boolean();
    } else {
      in.fail(Errc::invalid, "unknown field; a job takes action, filter, all and dry_run");
    }
  });
  in.end();
  if (!has_action) refuse("action", "is missing: cancel, retry, delete or export");
  return job;
}

}  // namespace opscore
