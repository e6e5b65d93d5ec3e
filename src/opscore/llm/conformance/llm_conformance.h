#pragma once
// The suite that every LlmClient passes. An implementation is put to it by a function that makes a
// client which answers by a script (scripted_client.h describes the format; the suite uses only
// texts, tool calls with ids, errors, usage and delay_ms, without conditions and templates).

#include <functional>
#include <memory>
#include <ostream>
#include <string>

#include "opscore/llm/llm_client.h"

namespace opscore {

// Whatever the client needs, kept alive with it.
class LlmSubject {
 public:
  virtual ~LlmSubject() = default;
  virtual LlmClient& client() = 0;
};

struct LlmImplementation {
  std::string name;
  std::function<std::unique_ptr<LlmSubject>(const Json& script)> make;
};

// Every implementation that the suite runs on.
std::vector<LlmImplementation> llm_implementations();

inline std::ostream& operator<<(std::ostream& out, const LlmImplementation& each) {
  return out << each.name;
}

}  // namespace opscore
