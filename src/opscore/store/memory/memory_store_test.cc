#include "opscore/store/memory/memory_store.h"

#include "opscore/store/conformance/store_conformance.h"

namespace opscore {
namespace {

StoreFactory memory_factory() {
  StoreFactory factory;
  factory.name = "memory";
  factory.open = [](const Clock& clock, Random& random) {
    return open_memory_store(clock, random);
  };
  factory.open_announcing = [](const Clock& clock, Random& random) {
    return open_memory_store(clock, random, {.announce = true});
  };
  return factory;
}

}  // namespace
}  // namespace opscore

INSTANTIATE_STORE_CONFORMANCE(memory, opscore::memory_factory());
