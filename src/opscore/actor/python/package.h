#pragma once
// The Python package of sdk/python as it was when this program was built: a zip archive.

#include <string_view>

namespace opscore {

std::string_view python_package();

}  // namespace opscore
