#pragma once
// A results backend in this process, for tests. Its content is that of Redis; nothing expires.

#include <memory>
#include <optional>
#include <string>

#include "opscore/broker/results_backend.h"

namespace opscore {

// For one thread, as every backend. The public calls play the Python side.
class MemoryResults : public ResultsBackend {
 public:
  virtual void create_barrier(const std::string& group, int members) = 0;
  virtual std::optional<std::string> result(const std::string& message_id) const = 0;
  // While away every call throws Error{unavailable}.
  virtual void set_away(bool away) = 0;
};

std::unique_ptr<MemoryResults> open_memory_results();

}  // namespace opscore
