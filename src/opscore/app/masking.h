#pragma once
// Takes secrets out of what is kept or shown for finding faults: arguments, environments, logs.
// When in doubt it masks. Pure, but for masked_command().

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace opscore {

inline constexpr char kMasked[] = "***";

// Of a setting, variable, option or field that is likely to hold a secret: it has a word such as
// password, token or key.
bool is_secret_name(std::string_view name);
// The credentials of every URL in the text, and what follows NAME= or NAME: of a secret name.
std::string mask_text(std::string_view text);
// Also these, wherever they stand; those of fewer than six characters only as whole words.
std::string mask_text(std::string_view text, const std::set<std::string>& secrets);
// Of a command line of opscore.
std::vector<std::string> masked_arguments(const std::vector<std::string>& arguments);
// Of any other program: its name, the names of options, the module after -m, and paths of what is
// there. Looks at the file system.
std::vector<std::string> masked_command(const std::vector<std::string>& arguments);
// All names. Values of those that are known to be harmless and to explain much; else "" when it is
// empty and *** when it is not.
std::map<std::string, std::string> masked_environment(
    const std::map<std::string, std::string>& environment);

}  // namespace opscore
