#include "opscore/app/cli/tar_gz.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "opscore/base/error.h"

namespace opscore {
namespace {

constexpr size_t kBlock = 512;
constexpr size_t kNameBytes = 100;

void pad(std::string& tar) {
  tar.append((kBlock - tar.size() % kBlock) % kBlock, '\0');
}

// A field of the header: numbers are octal digits with a NUL.
template <size_t N>
void put(std::array<char, kBlock>& header, const std::string& text) {
  OPSCORE_ASSERT(N + text.size() <= kBlock, "a field beyond the header");
  std::memcpy(header.data() + N, text.data(), text.size());
}

}  // namespace

void TarGz::add(std::string_view name, std::string_view content) {
  OPSCORE_ASSERT(!name.empty() && name.size() <= kNameBytes, "a name that ustar cannot hold");
  std::array<char, kBlock> header{};
  put<0>(header, std::string(name));
  put<100>(header, "0000600");
  put<108>(header, "0000000");  // user and group: whoever unpacks it
  put<116>(header, "0000000");
  put<124>(header, fmt::format("{:011o}", content.size()));
  put<136>(header, fmt::format("{:011o}", to_ms(now_) / 1000));
  put<148>(header, "        ");  // the checksum counts as blanks
  put<156>(header, "0");         // an ordinary file
  put<257>(header, std::string("ustar\0"
                               "00",
                               8));
  unsigned sum = 0;
  for (char c : header) sum += static_cast<unsigned char>(c);
  put<148>(header, fmt::format("{:06o}", sum) + '\0' + ' ');
  tar_.append(header.data(), header.size());
  tar_ += content;
  pad(tar_);
}

std::string TarGz::finish() {
  constexpr int kGzip = 15 + 16;  // the largest window, and gzip's header
  tar_.append(2 * kBlock, '\0');
  z_stream stream{};
  int state =
      ::deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, kGzip, 8, Z_DEFAULT_STRATEGY);
  OPSCORE_ASSERT(state == Z_OK, "zlib refuses its own parameters");
  std::string packed(::deflateBound(&stream, static_cast<uLong>(tar_.size())), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(tar_.data());
  stream.avail_in = static_cast<uInt>(tar_.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  state = ::deflate(&stream, Z_FINISH);
  packed.resize(stream.total_out);
  ::deflateEnd(&stream);
  OPSCORE_ASSERT(state == Z_STREAM_END, "zlib needs more than its own bound");
  return packed;
}

}  // namespace opscore
