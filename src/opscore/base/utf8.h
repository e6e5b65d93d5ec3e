#pragma once
// One step over UTF-8 text, by the table of Unicode 15, 3.9: no overlong forms, no surrogates,
// nothing above U+10FFFF.

#include <string>
#include <string_view>

namespace opscore {

// Of a text that is shown to people: the first characters, at most 64 bytes of them.
inline std::string shown(std::string_view text) {
  constexpr size_t kShownBytes = 64;
  if (text.size() <= kShownBytes) return std::string(text);
  size_t cut = kShownBytes;
  while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xc0) == 0x80) --cut;
  return std::string(text.substr(0, cut)) + "...";
}

struct Utf8Step {
  int size;  // bytes of the character, or of the part to be replaced when it is not one
  bool valid;
};

// `at` must be before `end`.
inline Utf8Step step_utf8(const char* at, const char* end) {
  auto first = static_cast<unsigned char>(*at);
  if (first < 0x80) return {1, true};
  int size = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
  if (size == 0) return {1, false};
  unsigned low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
  unsigned high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
  for (int i = 1; i < size; ++i) {
    if (at + i == end) return {i, false};
    auto byte = static_cast<unsigned char>(at[i]);
    if (byte < low || byte > high) return {i, false};
    low = 0x80, high = 0xbf;
  }
  return {size, true};
}

}  // namespace opscore
