#pragma once
// Which opscore this is.

#include <string>

namespace opscore {

std::string version();      // "0.1.0"
std::string build_words();  // "clang 19.1.7, optimised"

}  // namespace opscore
