#include "opscore/app/config_show.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "opscore/app/config_fields.h"
#include "opscore/app/masking.h"

namespace opscore {
namespace {

template <class Section>
std::string shown_value(const Field<Section>& field, const Slot& slot) {
  std::string text = value_text(slot);
  if (text.empty()) return text;
  if (field.secret == Secret::url) return quote_json(mask_url(*std::get<std::string*>(slot)));
  if (field.secret == Secret::yes && std::holds_alternative<std::string*>(slot)) return "\"***\"";
  return text;
}

template <class Section>
void show_section(std::vector<ShownSetting>& out, std::span<const Field<Section>> fields,
                  Section section, const std::string& prefix) {
  for (const auto& field : fields) {
    Slot slot = field.slot(section);
    if constexpr (std::is_same_v<Section, ActorConfig>)
      if (*field.only_of != '\0' && section.kind != field.only_of) continue;
    if (std::holds_alternative<std::vector<ActorConfig>*>(slot) ||
        std::holds_alternative<std::vector<QueueConfig>*>(slot) ||
        std::holds_alternative<std::vector<AgentProviderConfig>*>(slot))
      continue;
    auto origin = section.origins.find(field.key);
    out.push_back({prefix + field.key, shown_value(field, slot),
                   origin == section.origins.end() ? "default" : origin->second.words()});
  }
}

template <class Section>
std::string bounds_words(const Field<Section>& field, const Slot& slot) {
  if (!field.choices.empty()) return fmt::format(" ({})", fmt::join(field.choices, ", "));
  bool is_number = std::holds_alternative<int*>(slot) || std::holds_alternative<double*>(slot) ||
                   std::holds_alternative<std::optional<int>*>(slot);
  if (is_number) return fmt::format(" ({}-{})", field.min, field.max);
  bool is_duration = std::holds_alternative<Duration*>(slot) ||
                     std::holds_alternative<std::optional<Duration>*>(slot);
  if (is_duration)
    return fmt::format(" ({} - {})", to_text(Duration(field.min)), to_text(Duration(field.max)));
  return "";
}

template <class Section>
std::string reference_table(std::span<const Field<Section>> fields) {
  Section section;  // only the types of its members are looked at
  std::string text = "| key | type | default | elsewhere | meaning |\n|---|---|---|---|---|\n";
  for (const auto& field : fields) {
    Slot slot = field.slot(section);
    std::vector<std::string> elsewhere;
    if (*field.flag != '\0') elsewhere.push_back(fmt::format("`{}`", field.flag));
    for (const char* variable : field.variables) elsewhere.push_back(fmt::format("`{}`", variable));
    std::string fallback = *field.fallback == '\0' ? "" : fmt::format("`{}`", field.fallback);
    std::string kind = *field.only_of == '\0' ? "" : fmt::format("(`{}`) ", field.only_of);
    text += fmt::format("| `{}` | {}{} | {} | {} | {}{} |\n", field.key, type_words(slot),
                        bounds_words(field, slot), fallback, fmt::join(elsewhere, " "), kind,
                        field.description);
  }
  return text;
}

// The password of a URL: all between the first colon behind the scheme and the last @.
std::string password_of(const std::string& url) {
  const size_t scheme = url.find("://"), at = url.rfind('@');
  if (scheme == url.npos || at == url.npos) return {};
  const size_t colon = url.find(':', scheme + 3);
  return colon < at ? url.substr(colon + 1, at - colon - 1) : std::string();
}

template <class Section>
void add_secrets(std::set<std::string>& secrets, std::span<const Field<Section>> fields,
                 Section& section) {
  for (const auto& field : fields) {
    if (field.secret == Secret::no) continue;
    Slot slot = field.slot(section);
    if (auto text = std::get_if<std::string*>(&slot))
      secrets.insert(field.secret == Secret::url ? password_of(**text) : **text);
    if (auto texts = std::get_if<std::map<std::string, std::string>*>(&slot))
      for (const auto& [name, value] : **texts) secrets.insert(value);
  }
  secrets.erase("");
}

constexpr char kReferenceHead[] = R"(# Configuration

Every setting of opscore. This page is written by `app_test` from the tables in
`src/opscore/app/config_fields.cc`; a test compares the two.

A value comes from the first of these that has it; an empty one counts as unset:

1. a flag of the command;
2. the environment;
3. `.env` in the working directory (not with `--no-dotenv`);
4. `opscore.toml`: the file of `--config`, else the one in the working directory;
5. the default.

`opscore config show` prints every value with its origin and masks secrets; `opscore config check`
only checks. Whatever is wrong is refused as a whole, all problems together, each with file and
line: unknown keys in `opscore.toml`, unknown `OPSCORE_*` names in `.env`, wrong types, values out
of range, programs, scripts and files that are not there, a log that cannot be written. Unknown
`OPSCORE_*` variables of the environment are reported and ignored, for they may be meant for another
program.

Durations are texts such as `250ms`, `30s`, `10m`, `1h`, `7d`, or a number of seconds; sizes are
numbers of bytes or texts such as `512KiB`, `64MiB`, `1GB`. Relative paths in `opscore.toml` start
at its folder, all others at the working directory.

`.env` holds lines of the form `NAME=value`, with or without `export`, quotes (`'as it is'`,
`"with \n escapes"`) and comments (`# ...`). `${NAME}` is not expanded.

## Settings

)";

constexpr char kActorHead[] = R"(
## `[actors.NAME]`

What runs the tasks of type NAME: a program (`kind = "exec"`, [the guide](../howto/exec-actor.md))
or a web server (`kind = "http"`, [the guide](../howto/http-actor.md)). A name with a dot needs
quotes: `[actors."shell.word_count"]`. All of it is checked at start; a setting of one kind only is
refused in the other.

)";

constexpr char kQueueHead[] = R"(
## `[queues.NAME]`

Limits of one queue. What was set while running (`opscore queues set`) wins over these; `opscore
queues show NAME` says which limits hold and where each is from. See
[the guide](../howto/limits.md).

)";

constexpr char kProviderHead[] = R"(
## `[agent.providers.NAME]`

One language model provider. `openai` (key in `OPENAI_API_KEY`, other server in `OPENAI_BASE_URL`),
`openrouter` (`OPENROUTER_API_KEY`), `ollama` (`http://127.0.0.1:11434/v1`, no key) and `scripted`
are built in; a table of that name changes only what it sets. Keys are never written here: they are
looked up in the environment and in `.env`.

)";

}  // namespace

std::vector<ShownSetting> shown_settings(const Config& config) {
  std::vector<ShownSetting> out;
  show_section<Config>(out, config_fields(), config, "");
  for (const auto& provider : config.agent.providers)
    show_section<AgentProviderConfig>(out, provider_fields(), provider,
                                      fmt::format("agent.providers.{}.", provider.name));
  for (const auto& actor : config.actors)
    show_section<ActorConfig>(out, actor_fields(), actor, fmt::format("actors.{}.", actor.name));
  for (const auto& queue : config.queues)
    show_section<QueueConfig>(out, queue_fields(), queue, fmt::format("queues.{}.", queue.name));
  return out;
}

std::string config_text(const Config& config) {
  auto settings = shown_settings(config);
  size_t key_width = 0, value_width = 0;
  for (const auto& setting : settings) {
    key_width = std::max(key_width, setting.key.size());
    value_width = std::max(value_width, std::min<size_t>(setting.value.size(), 40));
  }
  std::string text;
  for (const auto& file : config.files)
    text += fmt::format("# {}: {}\n", file.path, file.read ? "read" : "not there");
  for (const auto& note : config.notes) text += fmt::format("# note: {}\n", note);
  for (const auto& setting : settings)
    text +=
        fmt::format("{:<{}} = {:<{}}  # {}\n", setting.key, key_width,
                    setting.value.empty() ? "(unset)" : setting.value, value_width, setting.origin);
  return text;
}

Json config_json(const Config& config) {
  Json settings = Json::array();
  for (const auto& setting : shown_settings(config))
    settings.push_back({{"key", setting.key},
                        {"value", setting.value.empty() ? Json() : Json(setting.value)},
                        {"origin", setting.origin}});
  Json files = Json::array();
  for (const auto& file : config.files) files.push_back({{"path", file.path}, {"read", file.read}});
  return {{"settings", settings}, {"files", files}, {"notes", config.notes}};
}

std::set<std::string> known_secrets(const Config& config) {
  constexpr size_t kShortest = 8;  // of a variable that may as well be a word
  std::set<std::string> secrets;
  Config settings = config;  // fields give out what can be written to
  add_secrets<Config>(secrets, config_fields(), settings);
  for (ActorConfig& actor : settings.actors)
    add_secrets<ActorConfig>(secrets, actor_fields(), actor);
  const auto shown = masked_environment(config.environment);
  for (const auto& [name, value] : config.environment)
    if (shown.at(name) == kMasked && (value.size() >= kShortest || is_secret_name(name)))
      secrets.insert(value);
  return secrets;
}

std::string config_reference() {
  return kReferenceHead + reference_table(config_fields()) + kActorHead +
         reference_table(actor_fields()) + kQueueHead + reference_table(queue_fields()) +
         kProviderHead + reference_table(provider_fields());
}

}  // namespace opscore
