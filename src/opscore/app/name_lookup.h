#pragma once
// Which addresses the hosts of services have. Stateless.

#include <map>
#include <string>
#include <vector>

#include "opscore/base/time.h"

namespace opscore {

// The hosts in URLs, in order, each once. Several URLs may share a text, separated by spaces or
// commas.
std::vector<std::string> hosts_of(const std::vector<std::string>& urls);
// Host -> "10.0.0.3, 10.0.0.4", or why there is none. Those that are not known by the deadline are
// "not resolved in time".
std::map<std::string, std::string> look_up(const std::vector<std::string>& hosts,
                                           Duration patience);

}  // namespace opscore
