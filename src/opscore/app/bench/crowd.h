#pragma once
// Many client connections that ask for something that takes long, or for nothing. Blocking sockets,
// one thread. Closed at the end.

#include <string>
#include <vector>

namespace opscore::bench {

class Crowd {
 public:
  Crowd(std::string host, int port) : host_(std::move(host)), port_(port) {}
  ~Crowd();
  Crowd(const Crowd&) = delete;

  // Each sends a GET of its target, when there is one.
  void add(size_t count, const std::vector<std::string>& targets, const std::string& fields = {});
  // Reads on every connection until its answer begins; throws Error when it is not a 200.
  void read_beginnings(size_t first, size_t count);
  // Reads every connection that asked something to its end. How many had a whole answer.
  size_t read_ends();

 private:
  const std::string host_;
  const int port_;
  std::vector<int> fds_;
  std::vector<int> asking_;
};

}  // namespace opscore::bench
