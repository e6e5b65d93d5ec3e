#pragma once
// The tables of settings: one row each for what opscore.toml may hold, how it is spelled elsewhere,
// its type, default and meaning. Parsing, `config show` and the reference follow from them; adding
// a setting is adding a member to Config and a row here.

#include <limits>
#include <span>
#include <variant>

#include "opscore/app/config_value.h"

namespace opscore {

// Where a setting is kept; the type of the member is the type of the setting.
using Slot = std::variant<
    std::string*, int*, double*, bool*, Bytes*, Duration*, SchemaText*, std::optional<int>*,
    std::optional<Duration>*, std::vector<std::string>*, std::vector<QueueWeight>*,
    std::map<std::string, std::string>*, std::map<std::string, Duration>*, std::map<int, ExitCode>*,
    std::vector<ActorConfig>*, std::vector<QueueConfig>*, std::vector<AgentProviderConfig>*>;

enum class Secret : uint8_t { no, yes, url };  // url: only its password

template <class Section>
struct Field {
  const char* key;  // "server.port"
  Slot (*slot)(Section&);
  const char* fallback;                // the default, as a user would write it; empty: unset
  const char* description;             // a sentence for the reference
  std::vector<const char*> variables;  // of the environment, the first that is set wins
  const char* flag = "";               // of the commands that start something
  int64_t min = 0;                     // of a number; of a duration in ms; of a size in bytes
  int64_t max = std::numeric_limits<int64_t>::max();
  std::vector<const char*> choices;
  std::optional<std::string> (*problem)(std::string_view) = nullptr;  // with a text, or one of them
  bool is_path = false;  // relative to the file that names it
  Secret secret = Secret::no;
  const char* only_of = "";  // of a section with kinds: the one that has this setting
};

inline constexpr int64_t kDayMs = 86'400'000;
inline constexpr int64_t kYearsMs = 3650 * kDayMs;
inline constexpr int64_t kCenturyMs = 37'000 * kDayMs;  // no duration is longer

// What is wrong with a URL that is a setting.
std::optional<std::string> http_url_problem(std::string_view text);

std::span<const Field<Config>> config_fields();
std::span<const Field<ActorConfig>> actor_fields();
std::span<const Field<QueueConfig>> queue_fields();
std::span<const Field<AgentProviderConfig>> provider_fields();

// What a user may write for a setting of this type, for messages and the reference.
std::string type_words(const Slot& slot);
// The value as opscore.toml would spell it; empty when unset.
std::string value_text(const Slot& slot);

// What assign() needs to know of a row, whatever its section.
struct FieldRules {
  int64_t min, max;
  const std::vector<const char*>& choices;
  std::optional<std::string> (*problem)(std::string_view);
};
template <class Section>
FieldRules rules_of(const Field<Section>& field) {
  return {field.min, field.max, field.choices, field.problem};
}

// Puts the value into the slot. Answers what is wrong with it ("must be ..."), else nothing. The
// slots of whole sections (actors, providers) are not for this.
std::optional<std::string> assign(const Slot& slot, const ConfigValue& value,
                                  const FieldRules& rules);

std::expected<Bytes, Error> parse_bytes(std::string_view text);
std::string to_text(Bytes bytes);

}  // namespace opscore
