#pragma once
// How many tasks of a type one runner may run at once: as its actor says, and as was set while
// running, which wins. Not thread-safe: a runner keeps it under its own mutex.

#include <map>
#include <string>
#include <vector>

#include "opscore/actor/actor.h"
#include "opscore/store/store.h"

namespace opscore {

// The type, then its aliases.
std::vector<std::string> names_of(const CatalogueEntry& entry);

class TypeLimits {
 public:
  using Rooms = std::vector<ClaimRequest::Room>;

  // The actors that the runner has now.
  void set_actors(std::vector<const RegisteredActor*> actors);
  // False: nothing changed.
  bool choose(std::map<std::string, int64_t> chosen);
  // Of each actor with a limit, while nothing of it runs. The first name of a room is the type.
  const Rooms& when_idle() const { return rooms_; }

  // Room that is being used up, by the actor's own type: what runs with an earlier definition of an
  // actor counts, too.
  class Left {
   public:
    explicit Left(const Rooms& rooms);
    void take(const std::string& type);
    Rooms rooms;

   private:
    std::map<std::string_view, size_t*> by_type_;
  };

 private:
  void find();

  std::vector<const RegisteredActor*> actors_;
  std::map<std::string, int64_t> chosen_;
  Rooms rooms_;
};

}  // namespace opscore
