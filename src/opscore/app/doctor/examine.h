#pragma once
// `opscore doctor`: gathers facts about an installation and has doctor/checks.h judge them. Opens
// store and broker itself and reads only, so it needs no server, and disturbs none.

#include <map>
#include <string>

#include "opscore/app/config.h"
#include "opscore/doctor/finding.h"

namespace opscore {

struct DoctorOptions {
  bool online = false;  // ask each model provider, which may cost a little
  std::string unacked_older_than = "60s";
};

// Takes at most 3 s whatever does not answer, and a few more for model providers. Throws
// Error{invalid} for an option; what goes wrong otherwise is a finding.
Examination examine(const ConfigSources& sources, const DoctorOptions& options);

}  // namespace opscore
