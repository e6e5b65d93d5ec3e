#include "opscore/doctor/finding.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "opscore/base/error.h"

namespace opscore {
namespace {

struct Kind {
  Ailment ailment;
  std::string_view word;
  Severity severity;
};

// layout: table
constexpr std::array kKinds{
    Kind{Ailment::config_invalid, "config_invalid", Severity::error},
    Kind{Ailment::config_note, "config_note", Severity::note},
    Kind{Ailment::empty_variable, "empty_variable", Severity::warning},
    Kind{Ailment::dramatiq_testing, "dramatiq_testing", Severity::warning},
    Kind{Ailment::proxy_set, "proxy_set", Severity::note},
    Kind{Ailment::store_unreachable, "store_unreachable", Severity::error},
    Kind{Ailment::store_schema, "store_schema", Severity::error},
    Kind{Ailment::clock_offset, "clock_offset", Severity::warning},
    Kind{Ailment::disk_low, "disk_low", Severity::error},
    Kind{Ailment::long_transaction, "long_transaction", Severity::warning},
    Kind{Ailment::bloat, "bloat", Severity::warning},
    Kind{Ailment::store_connections, "store_connections", Severity::warning},
    Kind{Ailment::other_server, "other_server", Severity::error},
    Kind{Ailment::nothing_runs, "nothing_runs", Severity::warning},
    Kind{Ailment::no_maintenance, "no_maintenance", Severity::error},
    Kind{Ailment::session_silent, "session_silent", Severity::warning},
    Kind{Ailment::session_trouble, "session_trouble", Severity::error},
    Kind{Ailment::other_version, "other_version", Severity::warning},
    Kind{Ailment::other_checkout, "other_checkout", Severity::warning},
    Kind{Ailment::other_host, "other_host", Severity::note},
    Kind{Ailment::queue_paused, "queue_paused", Severity::warning},
    Kind{Ailment::queue_unserved, "queue_unserved", Severity::error},
    Kind{Ailment::type_unserved, "type_unserved", Severity::error},
    Kind{Ailment::broker_unreachable, "broker_unreachable", Severity::error},
    Kind{Ailment::management_unknown, "management_unknown", Severity::note},
    Kind{Ailment::permission_missing, "permission_missing", Severity::error},
    Kind{Ailment::queue_arguments, "queue_arguments", Severity::error},
    Kind{Ailment::queue_unconsumed, "queue_unconsumed", Severity::warning},
    Kind{Ailment::unacked_held, "unacked_held", Severity::warning},
    Kind{Ailment::foreign_consumer, "foreign_consumer", Severity::error},
    Kind{Ailment::other_store, "other_store", Severity::error},
    Kind{Ailment::llm_key_missing, "llm_key_missing", Severity::warning},
    Kind{Ailment::llm_refused, "llm_refused", Severity::error},
    Kind{Ailment::open_files_low, "open_files_low", Severity::warning},
    Kind{Ailment::time_zone, "time_zone", Severity::warning},
};

const Kind& kind_of(Ailment ailment) {
  const Kind& kind = kKinds.at(static_cast<size_t>(ailment));
  OPSCORE_ASSERT(kind.ailment == ailment, "the ailments are in the order of their enum");
  return kind;
}

std::vector<Finding> worst_first(std::vector<Finding> findings) {
  std::stable_sort(findings.begin(), findings.end(), [](const Finding& a, const Finding& b) {
    return severity_of(a.ailment) > severity_of(b.ailment);
  });
  return findings;
}

}  // namespace

std::string_view to_string(Ailment ailment) {
  return kind_of(ailment).word;
}

Severity severity_of(Ailment ailment) {
  return kind_of(ailment).severity;
}

std::string_view to_string(Severity severity) {
  constexpr std::string_view kWords[] = {"note", "warning", "error"};
  return kWords[static_cast<size_t>(severity)];
}

void Examination::add(std::vector<Finding> more) {
  findings.insert(findings.end(), std::move_iterator(more.begin()), std::move_iterator(more.end()));
}

int exit_code_of(const Examination& examination) {
  int worst = 0;
  for (const Finding& finding : examination.findings)
    worst = std::max(worst, static_cast<int>(severity_of(finding.ailment)));
  return worst;
}

Json to_json(const Examination& examination) {
  Json looks = Json::array(), findings = Json::array();
  for (const Look& look : examination.looks)
    looks.push_back({{"what", look.what}, {"seen", to_valid_utf8(look.seen)}});
  for (const Finding& finding : worst_first(examination.findings))
    findings.push_back({{"finding", to_string(finding.ailment)},
                        {"severity", to_string(severity_of(finding.ailment))},
                        {"evidence", to_valid_utf8(finding.evidence)},
                        {"cause", to_valid_utf8(finding.cause)},
                        {"command", to_valid_utf8(finding.command)}});
  return {{"looked_at", looks}, {"findings", findings}};
}

std::string to_text(const Examination& examination) {
  std::string text;
  for (const Look& look : examination.looks)
    text += fmt::format("{:<10} {}\n", look.what, look.seen);
  for (const Finding& finding : worst_first(examination.findings))
    text +=
        fmt::format("\n{} {}: {}\n  {}\n  {}\n", to_string(severity_of(finding.ailment)),
                    to_string(finding.ailment), finding.evidence, finding.cause, finding.command);
  if (examination.findings.empty()) text += "\nnothing is wrong\n";
  return text;
}

}  // namespace opscore
