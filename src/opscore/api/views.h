#pragma once
// How everything looks in answers: ours to JSON text with the REST names, by hand. Payloads are
// spliced in as they are stored. Pure.

#include <functional>
#include <string>

#include "opscore/api/json_object.h"
#include "opscore/api/request.h"
#include "opscore/engine/service.h"

namespace opscore {

// What a task looks like. `worker` is the name of the last attempt's, `reason` why it is not done;
// empty ones are left out.
struct TaskView {
  const Task& task;
  std::string id;
  std::string worker;
  std::string reason;
  const std::vector<std::string>* warnings = nullptr;
  bool with_output_data = false;  // the result once more, under the name that ops-core has for it
};
void append_task(std::string& out, const TaskView& view);

// What a submit answers at once.
void append_submitted(std::string& out, const Submitted& submitted);
void append_event(std::string& out, const TaskEvent& event);
void append_step(std::string& out, const Step& step);
void append_attempt(std::string& out, const Attempt& attempt, const std::string& worker);
void append_queue(std::string& out, const QueueView& queue);
// `id_of` answers the public id of a task that it runs.
void append_worker(std::string& out, const Session& session, const std::string& name,
                   const std::function<std::string(TaskKey)>& id_of);
void append_actor(std::string& out, const CatalogueEntry& entry);
void append_filter(std::string& out, const TaskFilter& filter);
void append_skipped(std::string& out, const std::map<std::string, int64_t>& skipped);
void append_job(std::string& out, const Job& job);

// {"<name>": [...]}, for some with "warnings": [...].
template <class Items, class Write>
Response list_response(std::string_view name, const Items& items, Write&& write,
                       const std::vector<std::string>* warnings = nullptr) {
  Response response;
  JsonObject object(response.body);
  object.raw(name, {});
  append_array(response.body, items, write);
  if (warnings) {
    object.raw("warnings", {});
    append_array(response.body, *warnings, append_quoted);
  }
  object.close();
  return response;
}

}  // namespace opscore
