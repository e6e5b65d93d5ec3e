#include "opscore/app/version.h"

#include <fmt/format.h>

namespace opscore {

std::string version() {
  return OPSCORE_VERSION;
}  // defined by CMakeLists.txt

std::string build_words() {
#ifdef __clang__
  std::string compiler =
      fmt::format("clang {}.{}.{}", __clang_major__, __clang_minor__, __clang_patchlevel__);
#else
  std::string compiler = fmt::format("g++ {}.{}", __GNUC__, __GNUC_MINOR__);
#endif
#ifdef __OPTIMIZE__
  return compiler + ", optimised";
#else
  return compiler + ", not optimised";
#endif
}

}  // namespace opscore
