#pragma once
// A closed-loop HTTP/1.1 load generator on one thread: each connection has one request in flight.

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace opscore::bench {

struct Load {
  std::string host = "127.0.0.1";
  int port = 0;
  size_t connections = 1;
  size_t requests = 1;
  std::function<std::string(size_t number)> make;  // the whole request, head and body
  std::function<void(size_t done)> progress = [](size_t) {};
};

struct LoadResult {
  double seconds = 0;
  std::vector<float> latencies_ms;  // sorted
  size_t refused = 0;               // answers other than 2xx
  std::string first_refusal;
  double percentile(double p) const;
  void add(const LoadResult& other);
};

// Throws Error{unavailable} when a connection cannot be made or breaks.
LoadResult run_load(const Load& load);

std::string post(const std::string& path, const std::string& body, const std::string& host);

}  // namespace opscore::bench
