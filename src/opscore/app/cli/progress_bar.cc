#include "opscore/app/cli/progress_bar.h"

#include <fmt/format.h>

#include <algorithm>
#include <iostream>

namespace opscore {
namespace {

constexpr size_t kBarWidth = 24;

std::string bar_of(double part) {
  auto full = static_cast<size_t>(part * kBarWidth);
  return "[" + std::string(full, '#') + std::string(kBarWidth - full, '.') + "]";
}

}  // namespace

ProgressBar::~ProgressBar() {
  if (screen_.terminal && !shown_.empty()) out_ << '\n' << std::flush;
}

void ProgressBar::show(double part, const std::string& words) {
  part = std::clamp(part, 0.0, 1.0);
  if (!screen_.terminal) {
    int tenth = static_cast<int>(part * 10);
    std::string phase = words.substr(0, words.find_first_of("0123456789"));
    if (tenth <= tenth_ && phase == phase_) return;
    tenth_ = tenth;
    phase_ = phase;
    out_ << fmt::format("{:3.0f} % {}\n", part * 100, words) << std::flush;
    return;
  }
  std::string line = fmt::format("{} {:3.0f} % {}", bar_of(part), part * 100, words);
  // Cut to one line: what wraps cannot be rewritten. All of it is ASCII.
  line.resize(std::min(line.size(), screen_.width - 1));
  if (line == shown_) return;
  out_ << "\r\x1b[2K" << line << std::flush;
  shown_ = line;
}

void ProgressBar::clear() {
  if (screen_.terminal && !shown_.empty()) out_ << "\r\x1b[2K" << std::flush;
  shown_.clear();
}

std::string short_bytes(int64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(kUnits); ++unit) value /= 1024;
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

}  // namespace opscore
