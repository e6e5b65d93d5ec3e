#pragma once
// The states of a task and the only ways between them.
//
//                 +--------- release ----------+
//                 v                            |
//   submit --> pending <-- promote -- scheduled   waiting <-- submit
//                 |  ^                   ^
//              claim |                   |
//                 v  | hand_back, lose   | retry after error, time_out, crash; snooze
//              running ------------------+
//                 |
//                 +--> completed | failed | cancelled --- retry --> pending
//
//   cancel ends scheduled, waiting and pending at once, and asks running to stop; expire fails
//   scheduled, waiting and pending whose deadline passed; remove deletes whatever is not running.

#include <cstdint>
#include <optional>
#include <string_view>

namespace opscore {

// The numbers are stored: never change one.
enum class State : uint8_t {
  scheduled = 0,  // due later
  waiting = 1,    // for other tasks or a person
  pending = 2,    // due, not claimed
  running = 3,    // claimed
  completed = 4,
  failed = 5,
  cancelled = 6,
};
inline constexpr int kStateCount = 7;

enum class Event : uint8_t {
  claim,      // a session takes it
  complete,   // the actor returned a result
  fail,       // the actor reported an error
  time_out,   // the attempt ran longer than allowed
  crash,      // the worker died of it, perhaps
  lose,       // the worker is gone for another reason
  snooze,     // the actor asked to be run later
  hand_back,  // claimed, not run
  stop,       // the attempt ended because a cancel was asked for
  cancel,     // somebody wants it to end
  promote,    // its time has come
  release,    // what it waited for has happened
  expire,     // its deadline passed
  retry,      // a person wants it run again
  remove,     // a person wants it gone
};
inline constexpr int kEventCount = 15;

constexpr bool is_terminal(State state) {
  return state == State::completed || state == State::failed || state == State::cancelled;
}

std::string_view to_string(State state);
std::string_view to_string(Event event);
std::optional<State> state_from(std::string_view word);

// A set of states, as bits.
class StateSet {
 public:
  constexpr StateSet() = default;
  template <class... S>
  constexpr explicit StateSet(S... states) : bits_((... | (1u << static_cast<unsigned>(states)))) {}
  constexpr bool has(State state) const { return bits_ >> static_cast<unsigned>(state) & 1; }
  constexpr bool empty() const { return bits_ == 0; }
  // It has some states, and no other than these.
  constexpr bool only_of(StateSet allowed) const {
    return !empty() && (bits_ & ~allowed.bits_) == 0;
  }
  constexpr void add(State state) { bits_ |= 1u << static_cast<unsigned>(state); }

 private:
  unsigned bits_ = 0;
};

// Where `event` may lead from `state`; empty when it is forbidden there. `remove` leads nowhere and
// answers the state itself.
StateSet successors(State state, Event event);

}  // namespace opscore
