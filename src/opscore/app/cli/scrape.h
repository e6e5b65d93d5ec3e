#pragma once
// What a live view needs of GET /metrics: who was submitted and finished how often, and how long
// they waited and ran. Pure.

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace opscore {

// A histogram as it is exposed: how many were at most as long as each bound, in seconds.
struct Buckets {
  std::map<double, double> counts;

  double total() const { return counts.empty() ? 0 : counts.rbegin()->second; }
  void add(const Buckets& other);
  // Of the values since `before`, as Prometheus estimates it; nothing when there were none.
  std::optional<double> quantile_since(const Buckets& before, double quantile) const;
};

// Counters, of one type in one queue or of several together.
struct Counts {
  double submitted = 0;
  double completed = 0;
  double failed = 0;
  Buckets wait;  // from due to the first start
  Buckets run;   // of attempts

  void add(const Counts& other);
};

using TypeAndQueue = std::pair<std::string, std::string>;

// Other metrics, and lines that are not understood, are passed over.
std::map<TypeAndQueue, Counts> read_metrics(std::string_view text);

}  // namespace opscore
