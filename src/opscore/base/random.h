#pragma once
// Randomness, injected so that a seed reproduces a run. Safe for concurrent use.

#include <cstdint>
#include <random>
#include <string>

#include "opscore/base/mutex.h"

namespace opscore {

class Random {
 public:
  virtual ~Random() = default;
  virtual uint64_t next() = 0;
  // Uniform in [0, bound); bound > 0.
  uint64_t below(uint64_t bound) { return next() % bound; }
  // Uniform in [0, 1).
  double unit() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }
};

// From the kernel: for secrets and for jitter.
class SystemRandom final : public Random {
 public:
  uint64_t next() override;
};

class SeededRandom final : public Random {
 public:
  explicit SeededRandom(uint64_t seed) : engine_(seed) {}
  uint64_t next() override {
    MutexLock lock(mutex_);
    return engine_();
  }

 private:
  Mutex mutex_;
  std::mt19937_64 engine_ OPSCORE_GUARDED_BY(mutex_);
};

// `bytes` bytes of the kernel's randomness.
std::string random_bytes(size_t bytes);

}  // namespace opscore
