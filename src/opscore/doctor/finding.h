#pragma once
// What `opscore doctor` reports. Pure.

#include <string>
#include <string_view>
#include <vector>

#include "opscore/base/json.h"

namespace opscore {

enum class Severity : uint8_t { note, warning, error };

// Stable words: each is documented in docs/troubleshooting.md.
enum class Ailment : uint8_t {
  config_invalid,
  config_note,
  empty_variable,
  dramatiq_testing,
  proxy_set,
  store_unreachable,
  store_schema,
  clock_offset,
  disk_low,
  long_transaction,
  bloat,
  store_connections,
  other_server,
  nothing_runs,
  no_maintenance,
  session_silent,
  session_trouble,
  other_version,
  other_checkout,
  other_host,
  queue_paused,
  queue_unserved,
  type_unserved,
  broker_unreachable,
  management_unknown,
  permission_missing,
  queue_arguments,
  queue_unconsumed,
  unacked_held,
  foreign_consumer,
  other_store,
  llm_key_missing,
  llm_refused,
  open_files_low,
  time_zone,
};
inline constexpr Ailment kLastAilment = Ailment::time_zone;

std::string_view to_string(Ailment ailment);
Severity severity_of(Ailment ailment);
std::string_view to_string(Severity severity);

struct Finding {
  Ailment ailment = Ailment::config_note;
  std::string evidence;  // with numbers, names and times
  std::string cause;     // one sentence
  std::string command;   // that fixes it, or shows more
};

// One thing that was looked at, and what was seen of it.
struct Look {
  std::string what;
  std::string seen;
};

struct Examination {
  std::vector<Look> looks;
  std::vector<Finding> findings;

  void add(std::vector<Finding> more);
};

// 0 when there is nothing but notes, 1 for warnings, 2 for errors.
int exit_code_of(const Examination& examination);
// The worst findings first.
Json to_json(const Examination& examination);
std::string to_text(const Examination& examination);

}  // namespace opscore
