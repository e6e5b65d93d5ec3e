#include "opscore/actor/exec/stderr_lines.h"

#include <fmt/format.h>

#include "opscore/base/json.h"

namespace opscore {
namespace {

constexpr std::string_view kProgress = "::progress ";

bool continues_a_character(char c) {
  return (static_cast<unsigned char>(c) & 0xC0) == 0x80;
}

// The last `most` bytes or less, starting at a character.
std::string_view last_of(std::string_view text, size_t most) {
  if (text.size() <= most) return text;
  text.remove_prefix(text.size() - most);
  while (!text.empty() && continues_a_character(text.front())) text.remove_prefix(1);
  return text;
}

}  // namespace

void StderrLines::feed(std::string_view bytes) {
  while (!bytes.empty()) {
    size_t end = bytes.find('\n');
    bool whole = end != std::string_view::npos;
    std::string_view piece = bytes.substr(0, end);
    piece = piece.substr(0, kLineBytes - partial_.size());
    whole = whole && piece.size() == end;
    partial_ += piece;
    bytes.remove_prefix(piece.size() + (whole ? 1 : 0));
    if (!whole && partial_.size() < kLineBytes) return;
    take(partial_);
    partial_.clear();
  }
}

void StderrLines::finish() {
  if (!partial_.empty()) take(partial_);
  partial_.clear();
}

std::string StderrLines::tail() const {
  return std::string(last_of(tail_, kTailBytes));
}

void StderrLines::take(std::string_view line) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  if (line.starts_with(kProgress)) {
    std::string_view json = line.substr(kProgress.size());
    auto checked = check_json(json);
    if (checked) return progress_(std::string(json));
    log_(to_valid_utf8(fmt::format("{} (not JSON: {})", line, checked.error().what())));
    return;
  }
  std::string text = to_valid_utf8(line);
  tail_ += text;
  tail_ += '\n';
  if (tail_.size() > 4 * kTailBytes) tail_ = std::string(last_of(tail_, kTailBytes));
  log_(std::move(text));
}

}  // namespace opscore
