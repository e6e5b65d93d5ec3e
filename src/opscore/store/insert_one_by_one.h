#pragma once
// What a store does when it could not insert several items at once, which one of them may be at
// fault for: a bad item never fails its neighbours.

#include <vector>

#include "opscore/model/submit.h"

namespace opscore {

// `insert_one` answers what came of one item, or throws why it cannot be written.
template <class Items, class InsertOne>
std::vector<InsertResult> insert_one_by_one(Items& items, InsertOne insert_one) {
  std::vector<InsertResult> results;
  for (auto& item : items) {
    InsertResult& result = results.emplace_back();
    try {
      result = insert_one(item);
    } catch (const Error& error) {
      result.kind = InsertResult::Kind::failed;
      result.error = error;
    }
  }
  return results;
}

}  // namespace opscore
