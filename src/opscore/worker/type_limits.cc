#include "opscore/worker/type_limits.h"

namespace opscore {

std::vector<std::string> names_of(const CatalogueEntry& entry) {
  std::vector<std::string> names{entry.type};
  names.insert(names.end(), entry.aliases.begin(), entry.aliases.end());
  return names;
}

void TypeLimits::set_actors(std::vector<const RegisteredActor*> actors) {
  actors_ = std::move(actors);
  find();
}

bool TypeLimits::choose(std::map<std::string, int64_t> chosen) {
  if (chosen == chosen_) return false;
  chosen_ = std::move(chosen);
  find();
  return true;
}

void TypeLimits::find() {
  rooms_.clear();
  for (const RegisteredActor* actor : actors_) {
    auto chosen = chosen_.find(actor->entry.type);
    int64_t limit =
        chosen == chosen_.end() ? actor->entry.concurrency.value_or(kUnlimited) : chosen->second;
    if (limit != kUnlimited) rooms_.push_back({names_of(actor->entry), static_cast<size_t>(limit)});
  }
}

TypeLimits::Left::Left(const Rooms& all) : rooms(all) {
  for (ClaimRequest::Room& room : rooms) by_type_[room.types[0]] = &room.max;
}

void TypeLimits::Left::take(const std::string& type) {
  auto room = by_type_.find(type);
  if (room != by_type_.end() && *room->second > 0) --*room->second;
}

}  // namespace opscore
