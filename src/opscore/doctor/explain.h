#pragma once
// Why a task is where it is: walks record -> queue -> session -> slot -> attempt, and stops at the
// first broken link. Reads the store only, so it also works on a data file whose server is down.

#include <string>
#include <string_view>
#include <vector>

#include "opscore/base/json.h"
#include "opscore/base/time.h"
#include "opscore/store/store.h"

namespace opscore {

struct Hop {
  std::string name;  // record, queue, session, slot, attempt
  bool ok = true;
  std::string evidence;  // with times and numbers
};

struct Explanation {
  std::string task_id;
  std::string state;
  std::vector<Hop> hops;     // up to and including the first broken one
  std::string verdict;       // a stable word of engine/diagnosis.h
  std::string sentence;      // for people
  std::string next_command;  // what to run now
};

// `server_down`: the store is read without a server, so nothing is running whatever it says.
// Throws Error{not_found}.
Explanation explain(Store& store, const Clock& clock, std::string_view task_id,
                    bool server_down = false);
Json to_json(const Explanation& explanation);
std::string to_text(const Explanation& explanation);

}  // namespace opscore
