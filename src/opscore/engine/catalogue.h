#pragma once
// A cached view of what the installation can run: the store's catalogue and what is declared in
// configuration, with compiled input schemas. Safe for concurrent use; at most kFreshFor old.

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "opscore/base/mutex.h"
#include "opscore/engine/input_schema.h"
#include "opscore/store/store.h"

namespace opscore {

class Catalogue {
 public:
  static constexpr Duration kFreshFor{1000};

  struct Known {
    CatalogueEntry entry;
    std::shared_ptr<const InputSchema> schema;  // null: any input
    std::string schema_problem;                 // why the published schema cannot be used, or empty
  };
  struct Snapshot {
    std::map<std::string, Known, std::less<>> by_name;  // types and aliases
    struct LiveWorker {
      std::set<std::string, std::less<>> types;
      std::set<std::string, std::less<>> queues;
    };
    std::vector<LiveWorker> live;  // one per live session
    SteadyPoint taken_at;
    const Known* find(std::string_view type) const;
    // Does a live session serve the queue and run the type.
    bool is_served(std::string_view type, std::string_view queue) const;
    std::vector<std::string> names() const;
  };

  Catalogue(Store& store, const Clock& clock, std::vector<CatalogueEntry> declared)
      : store_(store), clock_(clock), declared_(std::move(declared)) {}

  std::shared_ptr<const Snapshot> view();
  // For what view() does not have, a name or a worker: it may have come a moment ago.
  std::shared_ptr<const Snapshot> fresh_view();
  // Looks names up in view(), and from the first that it lacks on in fresh_view(). Null: unknown.
  // Each answer lives until the next question. For one thread; the catalogue must outlive it.
  std::function<const CatalogueEntry*(const std::string& name)> finder();
  // Replaces what is declared; the next view is new. Reads nothing, so it cannot fail.
  void declare(std::vector<CatalogueEntry> declared);
  // Something is known to have changed: the next view is new.
  void refresh();

 private:
  std::shared_ptr<const Snapshot> view_of(Duration age);
  std::shared_ptr<const Snapshot> load() OPSCORE_REQUIRES(mutex_);
  std::shared_ptr<const Snapshot> load_unless_just_failed() OPSCORE_REQUIRES(mutex_);

  Store& store_;
  const Clock& clock_;
  Mutex mutex_;
  std::vector<CatalogueEntry> declared_ OPSCORE_GUARDED_BY(mutex_);
  std::shared_ptr<const Snapshot> snapshot_ OPSCORE_GUARDED_BY(mutex_);
  std::optional<Error> failure_ OPSCORE_GUARDED_BY(mutex_);  // of the last load
  SteadyPoint failed_at_ OPSCORE_GUARDED_BY(mutex_){};
};

}  // namespace opscore
