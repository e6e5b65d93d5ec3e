#pragma once
// SHA-256 of what comes in pieces. Not thread-safe.

#include <memory>
#include <string>
#include <string_view>

namespace opscore {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;

  void add(std::string_view bytes);
  std::string finish();  // 32 raw bytes; nothing may be added afterwards

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace opscore
