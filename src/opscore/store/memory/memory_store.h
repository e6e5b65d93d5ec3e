#pragma once
// A store in memory: for simulation, tests, and as the reference that other stores are compared to.
// Complete, not durable. Simple on purpose: ordered maps and full scans.

#include <memory>

#include "opscore/base/random.h"
#include "opscore/store/store.h"

namespace opscore {

struct MemoryStoreOptions {
  // Write token rows to the outbox whenever tasks become due, for use with a broker.
  bool announce = false;
};

// `clock` and `random` must outlive the store.
std::unique_ptr<Store> open_memory_store(const Clock& clock, Random& random,
                                         const MemoryStoreOptions& options = {});

}  // namespace opscore
