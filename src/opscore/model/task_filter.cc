#include "opscore/model/task_filter.h"

#include <algorithm>
#include <limits>

#include "opscore/model/stored_json.h"

namespace opscore {
namespace {

State read_state(JsonReader& in) {
  auto state = state_from(in.string());
  if (!state) in.fail(Errc::corrupt, "is not a state");
  return *state;
}

}  // namespace

bool has_labels(const TaskFilter& filter, const TaskOptions& options) {
  return std::all_of(filter.labels.begin(), filter.labels.end(), [&](const auto& wanted) {
    return std::find(options.labels.begin(), options.labels.end(), wanted) != options.labels.end();
  });
}

KeyRange range_of(const TaskFilter& filter) {
  KeyRange range{TaskKey{}, TaskKey{std::numeric_limits<int64_t>::max()}};
  if (filter.created_since) range.first = TaskKey::first_at(*filter.created_since);
  if (filter.created_before) range.end = TaskKey::first_at(*filter.created_before);
  return range;
}

std::string encode_filter(const TaskFilter& filter) {
  std::vector<std::string> states;
  for (int i = 0; i < kStateCount; ++i)
    if (filter.states.has(static_cast<State>(i)))
      states.push_back(quote_json(to_string(static_cast<State>(i))));
  auto append = [](std::string& out, const std::string& json) { out += json; };
  std::vector<std::string> labels;
  for (const auto& [name, value] : filter.labels)
    labels.push_back(fmt::format("[{},{}]", quote_json(name), quote_json(value)));
  ObjectWriter out;
  out.json("states", write_array(states, append));
  out.text("type", filter.type);
  out.text("queue", filter.queue);
  out.json("labels", write_array(labels, append));
  out.time("created_since_ms", filter.created_since);
  out.time("created_before_ms", filter.created_before);
  return out.take();
}

TaskFilter decode_filter(std::string_view text) {
  TaskFilter filter;
  read_stored("task filter", text, [&](JsonReader& in, std::string_view name) {
    if (name == "states")
      in.array([&](size_t) { filter.states.add(read_state(in)); });
    else if (name == "type")
      filter.type = in.string();
    else if (name == "queue")
      filter.queue = in.string();
    else if (name == "labels")
      in.array([&](size_t) {
        auto& [label, value] = filter.labels.emplace_back();
        in.array([&](size_t index) { (index == 0 ? label : value) = in.string(); });
      });
    else if (name == "created_since_ms")
      filter.created_since = read_time(in);
    else if (name == "created_before_ms")
      filter.created_before = read_time(in);
    else  // to ignore a condition would be to change more tasks than was asked
      in.fail(Errc::corrupt, "unknown condition, perhaps written by a newer version");
  });
  return filter;
}

}  // namespace opscore
