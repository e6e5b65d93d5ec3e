#include "opscore/app/config_change.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "opscore/app/config_fields.h"

namespace opscore {
namespace {

// The same setting in another configuration has the same value. Whole sections are compared by
// their own tables.
struct IsSameAs {
  const Slot& other;

  template <class T>
  bool operator()(T* value) const {
    return *value == *std::get<T*>(other);
  }
  bool operator()(std::vector<ActorConfig>*) const { return true; }
  bool operator()(std::vector<QueueConfig>*) const { return true; }
  bool operator()(std::vector<AgentProviderConfig>*) const { return true; }
};

template <class Section>
std::vector<std::string> changed_keys(std::span<const Field<Section>> fields, const Section& old,
                                      const Section& fresh) {
  Section before = old, after = fresh;  // a slot is a way to change its section
  std::vector<std::string> keys;
  for (const auto& field : fields)
    if (Slot other = field.slot(after); !std::visit(IsSameAs{other}, field.slot(before)))
      keys.push_back(field.key);
  return keys;
}

// Tables of tables: actors.NAME.
template <class Named>
void compare_named(std::span<const Field<Named>> fields, const std::vector<Named>& before,
                   const std::vector<Named>& after, const char* section,
                   std::vector<std::string>& changed) {
  std::map<std::string, const Named*> old;
  for (const Named& entry : before) old[entry.name] = &entry;
  for (const Named& entry : after) {
    auto found = old.find(entry.name);
    if (found == old.end()) {
      changed.push_back(fmt::format("{}.{} (added)", section, entry.name));
      continue;
    }
    if (!changed_keys(fields, *found->second, entry).empty())
      changed.push_back(fmt::format("{}.{}", section, entry.name));
    old.erase(found);
  }
  for (const auto& [name, entry] : old)
    changed.push_back(fmt::format("{}.{} (removed)", section, name));
}

bool can_change(const std::string& key) {
  return key == "log.level" || key.starts_with("retention.") || key.starts_with("agent.") ||
         key.starts_with("sandbox.");
}

}  // namespace

ConfigChange compare_configs(const Config& before, const Config& after) {
  ConfigChange change;
  for (const std::string& key : changed_keys(config_fields(), before, after))
    if (!key.starts_with("client."))
      (can_change(key) ? change.changed : change.needs_restart).push_back(key);
  compare_named(actor_fields(), before.actors, after.actors, "actors", change.changed);
  compare_named(queue_fields(), before.queues, after.queues, "queues", change.changed);
  compare_named(provider_fields(), before.agent.providers, after.agent.providers, "agent.providers",
                change.changed);
  return change;
}

Config with_reloadable(Config before, Config after) {
  before.log.level = after.log.level;
  before.retention = std::move(after.retention);
  before.agent = std::move(after.agent);
  before.sandbox = std::move(after.sandbox);
  before.actors = std::move(after.actors);
  before.queues = std::move(after.queues);
  before.environment = std::move(after.environment);
  before.files = std::move(after.files);
  before.notes = std::move(after.notes);
  return before;
}

}  // namespace opscore
