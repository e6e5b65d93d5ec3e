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

// Half a pair of UTF-16, as \uXXXX writes it.
inline bool is_high_surrogate(int unit) {
  return unit >= 0xd800 && unit <= 0xdbff;
}
inline bool is_low_surrogate(int unit) {
  return unit >= 0xdc00 && unit <= 0xdfff;
}
inline unsigned join_surrogates(int high, int low) {
  return 0x10000 + ((static_cast<unsigned>(high) - 0xd800) << 10) +
         (static_cast<unsigned>(low) - 0xdc00);
}

// Of a surrogate it makes the three bytes that its number would have.
inline void append_utf8(std::string& out, unsigned point) {
  auto put = [&out](unsigned byte) { out += static_cast<char>(byte); };
  if (point < 0x80) return put(point);
  if (point < 0x800) return put(0xc0 | point >> 6), put(0x80 | (point & 0x3f));
  if (point < 0x10000)
    put(0xe0 | point >> 12);
  else
    put(0xf0 | point >> 18), put(0x80 | (point >> 12 & 0x3f));
  put(0x80 | (point >> 6 & 0x3f)), put(0x80 | (point & 0x3f));
}

}  // namespace opscore
