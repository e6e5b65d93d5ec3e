#include "opscore/model/state.h"

#include <array>

namespace opscore {
namespace {

constexpr std::array<std::string_view, kStateCount> kStates{
    "scheduled", "waiting", "pending", "running", "completed", "failed", "cancelled"};
constexpr std::array<std::string_view, kEventCount> kEvents{
    "claim", "complete", "fail",    "time_out", "crash",  "lose",  "snooze", "hand_back",
    "stop",  "cancel",   "promote", "release",  "expire", "retry", "remove"};

}  // namespace

std::string_view to_string(State state) {
  return kStates[static_cast<size_t>(state)];
}
std::string_view to_string(Event event) {
  return kEvents[static_cast<size_t>(event)];
}

std::optional<State> state_from(std::string_view word) {
  for (size_t i = 0; i < kStates.size(); ++i)
    if (kStates[i] == word) return static_cast<State>(i);
  return std::nullopt;
}

StateSet successors(State state, Event event) {  // layout: table
  using enum State;
  switch (state) {
    case scheduled:
      switch (event) {
        case Event::claim:
          return StateSet(running);  // due, though not promoted yet
        case Event::promote:
          return StateSet(pending);
        case Event::cancel:
          return StateSet(cancelled);
        case Event::expire:
          return StateSet(failed);
        case Event::remove:
          return StateSet(scheduled);
        default:
          return {};
      }
    case waiting:
      switch (event) {
        case Event::release:
          return StateSet(pending, scheduled);
        case Event::cancel:
          return StateSet(cancelled);
        case Event::expire:
          return StateSet(failed);
        case Event::remove:
          return StateSet(waiting);
        default:
          return {};
      }
    case pending:
      switch (event) {
        case Event::claim:
          return StateSet(running);
        case Event::cancel:
          return StateSet(cancelled);
        case Event::expire:
          return StateSet(failed);
        case Event::remove:
          return StateSet(pending);
        default:
          return {};
      }
    case running:
      switch (event) {
        case Event::complete:
          return StateSet(completed);
        case Event::fail:
        case Event::time_out:
        case Event::crash:
        case Event::lose:
          return StateSet(pending, scheduled, failed, cancelled);
        case Event::snooze:
          return StateSet(scheduled, failed, cancelled);
        case Event::hand_back:
          return StateSet(pending, cancelled);
        case Event::stop:
          return StateSet(cancelled);
        case Event::cancel:
          return StateSet(running);  // asks; the attempt ends it
        default:
          return {};
      }
    case completed:
    case failed:
    case cancelled:
      switch (event) {
        case Event::retry:
          return StateSet(pending);
        case Event::remove:
          return StateSet(state);
        default:
          return {};
      }
  }
  return {};
}

}  // namespace opscore
