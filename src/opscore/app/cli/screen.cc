#include "opscore/app/cli/screen.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "opscore/app/cli/columns.h"
#include "opscore/base/error.h"
#include "opscore/base/json.h"

namespace opscore {
namespace {

constexpr size_t kGap = 2;
constexpr size_t kNarrowest = 8;

std::string one_line(std::string text) {
  for (char& c : text)
    if (static_cast<unsigned char>(c) < ' ' || c == 0x7F) c = ' ';
  return text;
}

std::string variable(const std::map<std::string, std::string>& environment, const char* name) {
  auto found = environment.find(name);
  return found == environment.end() ? "" : found->second;
}

// Shrinks the widest column until the row fits or nothing can give.
void fit(std::vector<size_t>& widths, size_t width) {
  auto total = [&] {
    size_t sum = kGap * (widths.size() - 1);
    for (size_t column : widths) sum += column;
    return sum;
  };
  // The first column is what other commands take: it stays whole.
  while (widths.size() > 1 && total() > width) {
    auto widest = std::max_element(widths.begin() + 1, widths.end());
    if (*widest <= kNarrowest) return;
    --*widest;
  }
}

}  // namespace

Screen look_at_terminal(const std::map<std::string, std::string>& environment, int fd) {
  Screen screen;
  screen.terminal = ::isatty(fd) == 1;
  screen.moves = screen.terminal && variable(environment, "TERM") != "dumb";
  screen.colour = screen.moves && variable(environment, "NO_COLOR").empty();
  winsize size{};
  if (screen.terminal && ::ioctl(fd, TIOCGWINSZ, &size) == 0) {
    if (size.ws_col > 0) screen.width = size.ws_col;
    if (size.ws_row > 0) screen.height = size.ws_row;
  }
  std::string columns = variable(environment, "COLUMNS");
  size_t asked = 0;
  auto [end, code] = std::from_chars(columns.data(), columns.data() + columns.size(), asked);
  if (code == std::errc() && asked > 0) screen.width = asked;
  return screen;
}

void Table::add(std::vector<std::string> row) {
  OPSCORE_ASSERT(row.size() == rows_[0].size(), "a cell for each column");
  for (std::string& cell : row) cell = one_line(std::move(cell));
  rows_.push_back(std::move(row));
}

std::string Table::text(const Screen& screen) const {
  std::vector<size_t> widths(rows_[0].size());
  for (const auto& row : rows_)
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], columns_of(row[i]));
  fit(widths, screen.width);
  std::string out;
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) {
      bool last = i + 1 == row.size();
      if (!screen.terminal) {
        out += row[i] + (last ? "" : "\t");
        continue;
      }
      std::string cell = cut(row[i], widths[i]);
      size_t pad = last ? 0 : widths[i] - columns_of(cell) + kGap;
      out += coloured(screen, row[i], cell) + std::string(pad, ' ');
    }
    out += '\n';
  }
  return out;
}

std::string coloured(const Screen& screen, std::string_view state, std::string_view text) {
  if (!screen.colour) return std::string(text);
  const char* code = state == "completed" || state == "ok"        ? "32"
                     : state == "failed" || state == "paused"     ? "31"
                     : state == "running"                         ? "36"
                     : state == "scheduled" || state == "waiting" ? "33"
                     : state == "cancelled"                       ? "35"
                                                                  : "";
  return *code == '\0' ? std::string(text) : fmt::format("\x1b[{}m{}\x1b[0m", code, text);
}

std::string short_age(Duration age) {
  int64_t seconds = std::max<int64_t>(0, age.count() / 1000);
  if (seconds < 60) return fmt::format("{}s", seconds);
  if (seconds < 3600) return fmt::format("{}m", seconds / 60);
  if (seconds < 86'400) return fmt::format("{}h", seconds / 3600);
  return fmt::format("{}d", seconds / 86'400);
}

std::string printable(const Screen& screen, std::string_view text) {
  if (!screen.terminal) return std::string(text);
  std::string out = to_valid_utf8(text);
  std::string clean;
  for (size_t i = 0; i < out.size(); ++i) {
    auto byte = static_cast<unsigned char>(out[i]);
    // C1 controls are C2 80 .. C2 9F in UTF-8.
    bool c1 = byte == 0xC2 && i + 1 < out.size() && static_cast<unsigned char>(out[i + 1]) < 0xA0;
    if (c1) ++i;
    bool control = (byte < ' ' && out[i] != '\n' && out[i] != '\t') || byte == 0x7F || c1;
    clean += control ? std::string("�") : std::string(1, out[i]);
  }
  return clean;
}

}  // namespace opscore
