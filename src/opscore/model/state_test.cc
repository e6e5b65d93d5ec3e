#include "opscore/model/state.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace opscore {
namespace {

// Every state x event: where it may lead, "-" where it is forbidden.
//  s scheduled, w waiting, p pending, r running, c completed, f failed, x cancelled
// clang-format off
const std::vector<std::pair<Event, std::string>> kTable{
    //                  sched wait pend run   compl fail canc
    {Event::claim,      "r    -    r    -     -     -    -"},
    {Event::complete,   "-    -    -    c     -     -    -"},
    {Event::fail,       "-    -    -    spfx  -     -    -"},
    {Event::time_out,   "-    -    -    spfx  -     -    -"},
    {Event::crash,      "-    -    -    spfx  -     -    -"},
    {Event::lose,       "-    -    -    spfx  -     -    -"},
    {Event::snooze,     "-    -    -    sfx   -     -    -"},
    {Event::hand_back,  "-    -    -    px    -     -    -"},
    {Event::stop,       "-    -    -    x     -     -    -"},
    {Event::cancel,     "x    x    x    r     -     -    -"},
    {Event::promote,    "p    -    -    -     -     -    -"},
    {Event::release,    "-    sp   -    -     -     -    -"},
    {Event::expire,     "f    f    f    -     -     -    -"},
    {Event::retry,      "-    -    -    -     p     p    p"},
    {Event::remove,     "s    w    p    -     c     f    x"},
};
// clang-format on

constexpr std::string_view kLetters = "swprcfx";

TEST(State, EveryCellOfTheTable) {
  ASSERT_EQ(kTable.size(), static_cast<size_t>(kEventCount));
  std::set<Event> events;
  for (const auto& [event, row] : kTable) {
    EXPECT_TRUE(events.insert(event).second);
    std::istringstream cells(row);
    for (int i = 0; i < kStateCount; ++i) {
      auto from = static_cast<State>(i);
      std::string cell;
      ASSERT_TRUE(cells >> cell) << row;
      StateSet allowed = successors(from, event);
      EXPECT_EQ(allowed.empty(), cell == "-") << to_string(from) << " " << to_string(event);
      for (int j = 0; j < kStateCount; ++j)
        EXPECT_EQ(allowed.has(static_cast<State>(j)),
                  cell.find(kLetters[static_cast<size_t>(j)]) != std::string::npos)
            << to_string(from) << " " << to_string(event) << " "
            << to_string(static_cast<State>(j));
    }
  }
}

TEST(State, TerminalStatesAreLeftByARetryOnly) {
  for (State state : {State::completed, State::failed, State::cancelled}) {
    EXPECT_TRUE(is_terminal(state));
    for (int i = 0; i < kEventCount; ++i) {
      auto event = static_cast<Event>(i);
      if (event == Event::retry || event == Event::remove) continue;
      EXPECT_TRUE(successors(state, event).empty()) << to_string(state) << to_string(event);
    }
  }
  for (State state : {State::scheduled, State::waiting, State::pending, State::running})
    EXPECT_FALSE(is_terminal(state));
}

TEST(State, WordsReadBack) {
  std::set<std::string_view> words;
  for (int i = 0; i < kStateCount; ++i) {
    auto state = static_cast<State>(i);
    EXPECT_EQ(state_from(to_string(state)), state);
    EXPECT_TRUE(words.insert(to_string(state)).second);
  }
  words.clear();
  for (int i = 0; i < kEventCount; ++i)
    EXPECT_TRUE(words.insert(to_string(static_cast<Event>(i))).second);
  EXPECT_FALSE(state_from(""));
  EXPECT_FALSE(state_from("Pending"));
  EXPECT_FALSE(state_from("done"));
}

// They are stored: a changed number would turn every data file into nonsense.
TEST(State, NumbersAreFixed) {
  const std::map<State, int> numbers{
      {State::scheduled, 0}, {State::waiting, 1}, {State::pending, 2},  {State::running, 3},
      {State::completed, 4}, {State::failed, 5},  {State::cancelled, 6}};
  ASSERT_EQ(numbers.size(), static_cast<size_t>(kStateCount));
  for (auto [state, number] : numbers) EXPECT_EQ(static_cast<int>(state), number);
}

TEST(StateSet, HoldsWhatWasAdded) {
  StateSet set;
  EXPECT_TRUE(set.empty());
  set.add(State::failed);
  EXPECT_TRUE(set.has(State::failed));
  EXPECT_FALSE(set.has(State::pending));
  EXPECT_FALSE(set.empty());
  EXPECT_TRUE(StateSet(State::scheduled).has(State::scheduled));
}

}  // namespace
}  // namespace opscore
