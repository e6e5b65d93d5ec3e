#include <fmt/format.h>

#include <algorithm>

#include "opscore/actor/actor.h"
#include "opscore/actor/native/function_actor.h"
#include "opscore/base/json.h"
#include "opscore/model/canary.h"
#include "opscore/model/names.h"

namespace opscore {
namespace {

[[noreturn]] void refuse(const std::string& what, const std::string& problem) {
  throw Error(Errc::invalid, fmt::format("{} {}", what, problem));
}

void check_entry(const CatalogueEntry& entry) {
  std::string actor = fmt::format("actor '{}':", entry.type);
  if (auto problem = name_problem(entry.type))
    refuse(fmt::format("actor '{}': its name", entry.type), *problem);
  for (const std::string& alias : entry.aliases)
    if (auto problem = name_problem(alias))
      refuse(fmt::format("{} its alias '{}'", actor, alias), *problem);
  if (auto problem = queue_name_problem(entry.queue))
    refuse(fmt::format("{} its queue '{}'", actor, entry.queue), *problem);
  if (entry.input_schema.empty()) return;
  if (auto checked = check_json(entry.input_schema); !checked)
    refuse(actor + " its input_schema is not JSON:", checked.error().message());
}

}  // namespace

void Registry::add(const std::string& type, std::function<Outcome(TaskContext&)> function,
                   ActorOptions options) {
  add(type, "native", make_function_actor(std::move(function)), std::move(options));
}

void Registry::add(const std::string& type, std::function<std::string(TaskContext&)> function,
                   ActorOptions options) {
  add(
      type,
      [function = std::move(function)](TaskContext& task) {
        return Outcome::complete(function(task));
      },
      std::move(options));
}

void Registry::add(const std::string& type, const std::string& kind, std::unique_ptr<Actor> actor,
                   ActorOptions options) {
  RegisteredActor registered;
  registered.entry.type = type;
  registered.entry.kind = kind;
  registered.entry.queue = std::move(options.queue);
  registered.entry.version = std::move(options.version);
  registered.entry.description = std::move(options.description);
  registered.entry.input_schema = std::move(options.input_schema);
  registered.entry.timeout = options.timeout;
  registered.entry.max_attempts = options.max_attempts;
  registered.entry.retry = options.retry;
  if (options.concurrency > 0)
    registered.entry.concurrency = static_cast<int64_t>(options.concurrency);
  registered.entry.aliases = std::move(options.aliases);
  registered.entry.sandbox = std::move(options.sandbox);
  registered.entry.unsandboxed = std::move(options.unsandboxed);
  registered.entry.dramatiq = std::move(options.dramatiq);
  registered.stop_grace = options.stop_grace;
  registered.actor = std::move(actor);
  insert(std::move(registered));
}

void Registry::add_hosted(CatalogueEntry entry, Duration stop_grace) {
  RegisteredActor registered;
  registered.entry = std::move(entry);
  registered.stop_grace = stop_grace;
  insert(std::move(registered));
}

const RegisteredActor* Registry::find(const std::string& type) const {
  auto found = actors_.find(type);
  if (found == actors_.end()) {
    auto alias = aliases_.find(type);
    if (alias == aliases_.end()) return nullptr;
    found = actors_.find(alias->second);
  }
  return found->second.get();
}

std::vector<const RegisteredActor*> Registry::all() const {
  std::vector<const RegisteredActor*> actors;
  actors.reserve(actors_.size());
  for (const auto& [type, actor] : actors_) actors.push_back(actor.get());
  return actors;
}

void Registry::insert(RegisteredActor actor) {
  const CatalogueEntry& entry = actor.entry;
  check_entry(entry);
  std::vector<std::string> names{entry.type};
  names.insert(names.end(), entry.aliases.begin(), entry.aliases.end());
  for (size_t i = 0; i < names.size(); ++i) {
    if (names[i] == kCanaryType)
      refuse(fmt::format("actor '{}': the name '{}'", entry.type, names[i]),
             "is kept for the canaries of sessions");
    if (std::find(names.begin(), names.begin() + static_cast<ptrdiff_t>(i), names[i]) !=
        names.begin() + static_cast<ptrdiff_t>(i))
      refuse(fmt::format("actor '{}': the name '{}'", entry.type, names[i]), "is given twice");
    if (const RegisteredActor* other = find(names[i]))
      refuse(fmt::format("actor '{}': the name '{}'", entry.type, names[i]),
             fmt::format("is taken by actor '{}' ({})", other->entry.type, other->entry.kind));
  }
  // Only now, so that a refused actor leaves nothing behind.
  std::string type = entry.type;
  for (const std::string& alias : entry.aliases) aliases_[alias] = type;
  actors_[type] = std::make_shared<RegisteredActor>(std::move(actor));
}

}  // namespace opscore
