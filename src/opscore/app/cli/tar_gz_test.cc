#include "opscore/app/cli/tar_gz.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

namespace opscore {
namespace {

std::string output_of(const std::string& command) {
  std::string out;
  FILE* pipe = ::popen(command.c_str(), "r");
  EXPECT_NE(pipe, nullptr);
  char buffer[4096];
  while (size_t got = std::fread(buffer, 1, sizeof buffer, pipe)) out.append(buffer, got);
  EXPECT_EQ(::pclose(pipe), 0) << command;
  return out;
}

TEST(TarGz, TarReadsIt) {
  const std::string long_name(100, 'n');
  TarGz archive(from_ms(1'750'000'000'000));
  archive.add("empty", "");
  archive.add("folder/a block", std::string(512, 'x'));
  archive.add(long_name, "line\n");
  const auto file = std::filesystem::temp_directory_path() / fmt::format("tar-{}", ::getpid());
  std::ofstream(file, std::ios::binary) << archive.finish();
  EXPECT_EQ(output_of("tar -tzf " + file.string()), "empty\nfolder/a block\n" + long_name + "\n");
  EXPECT_EQ(output_of("tar -xzOf " + file.string() + " 'folder/a block'"), std::string(512, 'x'));
  EXPECT_EQ(output_of("tar -xzOf " + file.string() + " " + long_name), "line\n");
  EXPECT_NE(output_of("TZ=UTC tar -tvzf " + file.string()).find("2025-06-15"), std::string::npos);
  std::filesystem::remove(file);
}

TEST(TarGz, WithoutFilesItIsAnArchive) {
  EXPECT_FALSE(TarGz(from_ms(0)).finish().empty());
}

}  // namespace
}  // namespace opscore
