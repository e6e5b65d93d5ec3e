#pragma once
// What differs between the places where two workers run, most suspicious first: why the one that a
// test has started hears nothing, while the one started by hand works. Pure.

#include <string>
#include <vector>

#include "opscore/base/json.h"

namespace opscore {

struct Difference {
  std::string what;           // "stdout", "environment.LANG"
  std::string first, second;  // "-" when it is not there
  int rank = 0;               // 0 to 100: how likely it explains what only one of them does
  std::string why;            // what such a difference does; empty: nothing that is known
};

// Two contexts as a session stores them (see GET /workers/{worker}). Left out is what always
// differs: pids, and variables that name the own terminal or process.
std::vector<Difference> compare_contexts(const Json& first, const Json& second);

}  // namespace opscore
