#include "opscore/model/event.h"

#include "opscore/model/stored_json.h"

namespace opscore {

std::string event_data(const ErrorInfo& error) {
  if (error.kind.empty()) return {};
  ObjectWriter out;
  out.text("kind", error.kind);
  out.text("message", error.message);
  return out.take();
}

TaskEvent end_event(State state, TimePoint at, int attempt, const ErrorInfo& error) {
  return {0, at, std::string(to_string(state)), attempt, event_data(error)};
}

}  // namespace opscore
