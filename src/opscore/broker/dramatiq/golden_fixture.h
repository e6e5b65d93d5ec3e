#pragma once
// The bodies that the real Dramatiq wrote; testdata/dramatiq.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "opscore/broker/dramatiq/message.h"

namespace opscore {

inline std::filesystem::path golden_folder() {
  return std::filesystem::path(__FILE__).parent_path().parent_path() / "testdata" / "dramatiq";
}

inline std::string golden_body(const std::string& name) {
  std::ifstream file(golden_folder() / (name + ".json"), std::ios::binary);
  EXPECT_TRUE(file) << name;
  std::ostringstream body;
  body << file.rdbuf();
  return body.str();
}

inline DramatiqMessage golden(const std::string& name) {
  return decode_dramatiq(golden_body(name)).value();
}

// The names of all that are messages: they begin with a number.
inline std::vector<std::string> golden_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(golden_folder()))
    if (std::string name = entry.path().stem().string(); name[0] >= '0' && name[0] <= '9')
      names.push_back(name);
  return names;
}

}  // namespace opscore
