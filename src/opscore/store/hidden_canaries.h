#pragma once
// A store that does not show canaries: not in lists, not by id, not among the queues, and not as
// news. Who knows the key of one can still write it.

#include <memory>

#include "opscore/store/store.h"

namespace opscore {

// Owns `inner`, and is as safe for concurrent use.
std::unique_ptr<Store> hide_canaries(std::unique_ptr<Store> inner);

}  // namespace opscore
