#include "opscore/engine/catalogue.h"

#include <algorithm>

#include "opscore/engine/diagnosis.h"
#include "opscore/model/limits.h"

namespace opscore {
namespace {

// A schema that cannot be used is the matter of its type alone: the others go on.
void compile_schema(Catalogue::Known& known) {
  if (known.entry.input_schema.empty()) return;
  try {
    known.schema = std::make_shared<InputSchema>(known.entry.input_schema);
  } catch (const Error& error) {
    known.schema_problem = error.message();
  }
}

}  // namespace

const Catalogue::Known* Catalogue::Snapshot::find(std::string_view type) const {
  auto known = by_name.find(type);
  return known == by_name.end() ? nullptr : &known->second;
}

bool Catalogue::Snapshot::is_served(std::string_view type, std::string_view queue) const {
  return std::any_of(live.begin(), live.end(), [&](const LiveWorker& worker) {
    return worker.types.contains(type) &&
           (worker.queues.contains("*") || worker.queues.contains(queue));
  });
}

std::vector<std::string> Catalogue::Snapshot::names() const {
  std::vector<std::string> names;
  for (const auto& [name, known] : by_name) names.push_back(name);
  return names;
}

std::shared_ptr<const Catalogue::Snapshot> Catalogue::view_of(Duration age) {
  MutexLock lock(mutex_);
  if (!snapshot_ || clock_.steady() - snapshot_->taken_at > age)
    snapshot_ = load_unless_just_failed();
  return snapshot_;
}

std::shared_ptr<const Catalogue::Snapshot> Catalogue::view() {
  return view_of(kFreshFor);
}

// A flood of unknown types must not become a flood of reads.
std::shared_ptr<const Catalogue::Snapshot> Catalogue::fresh_view() {
  return view_of(kFreshFor / 20);
}

std::function<const CatalogueEntry*(const std::string&)> Catalogue::finder() {
  return [this, snapshot = view(), fresh = false](const std::string& name) mutable {
    const Known* known = snapshot->find(name);
    if (!known && !std::exchange(fresh, true)) {
      snapshot = fresh_view();
      known = snapshot->find(name);
    }
    return known ? &known->entry : nullptr;
  };
}

void Catalogue::declare(std::vector<CatalogueEntry> declared) {
  MutexLock lock(mutex_);
  declared_ = std::move(declared);
  snapshot_ = nullptr;
}

void Catalogue::refresh() {
  MutexLock lock(mutex_);
  snapshot_ = nullptr;
}

// A store that is away takes its time to say so: those who wait here for the first to find out are
// not to find out one after the other.
std::shared_ptr<const Catalogue::Snapshot> Catalogue::load_unless_just_failed() {
  if (failure_ && clock_.steady() - failed_at_ < kFreshFor) throw *failure_;
  failure_.reset();
  try {
    return load();
  } catch (const Error& error) {
    failure_ = error;
    failed_at_ = clock_.steady();
    throw;
  }
}

std::shared_ptr<const Catalogue::Snapshot> Catalogue::load() {
  auto snapshot = std::make_shared<Snapshot>();
  snapshot->taken_at = clock_.steady();
  TimePoint now = clock_.now();
  auto add = [&](const CatalogueEntry& entry) OPSCORE_REQUIRES(mutex_) {
    Known known{entry, nullptr, ""};
    const Known* before = snapshot_ ? snapshot_->find(entry.type) : nullptr;
    if (before && before->entry.input_schema == entry.input_schema) {
      known.schema = before->schema;
      known.schema_problem = before->schema_problem;
    } else {
      compile_schema(known);
    }
    snapshot->by_name.insert_or_assign(entry.type, known);
    for (const std::string& alias : entry.aliases) snapshot->by_name.insert_or_assign(alias, known);
  };
  for (const CatalogueEntry& entry : declared_) add(entry);
  for (const CatalogueEntry& entry : store_.fleet().catalogue())
    if (now - entry.seen_at <= limits::kActorSeen) add(entry);
  for (const Session& session : store_.fleet().sessions(Duration(0)))
    if (is_live(session, now))
      snapshot->live.push_back({{session.report.types.begin(), session.report.types.end()},
                                {session.report.queues.begin(), session.report.queues.end()}});
  return snapshot;
}

}  // namespace opscore
