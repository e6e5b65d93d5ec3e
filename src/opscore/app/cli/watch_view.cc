#include "opscore/app/cli/watch_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string_view>

#include "opscore/app/cli/columns.h"

namespace opscore {
namespace {

constexpr size_t kNameMin = 8;
constexpr size_t kNameWanted = 16;
constexpr size_t kSparkMin = 6;
constexpr size_t kSparkMax = 40;

// At most five characters: "0", "0.25", "12.5", "999", "12.3k", "4.5M".
std::string compact(double value) {
  const char* unit = "";
  for (const char* next : {"k", "M", "G"}) {
    if (value < 999.5) break;
    value /= 1000;
    unit = next;
  }
  if (value == std::floor(value)) return fmt::format("{:.0f}{}", value, unit);
  return fmt::format("{:.{}f}{}", value,
                     value < 1 && *unit == '\0' ? 2
                     : value < 99.95            ? 1
                                                : 0,
                     unit);
}

std::string compact(std::optional<double> value) {
  return value ? compact(*value) : "-";
}

// "0.3ms", "12ms", "1.2s", "59s", then as ages are.
std::string compact_latency(std::optional<double> seconds) {
  if (!seconds) return "-";
  double ms = *seconds * 1000;
  if (ms < 9.95) return fmt::format("{:.1f}ms", ms);
  if (ms < 999.5) return fmt::format("{:.0f}ms", ms);
  if (*seconds < 9.95) return fmt::format("{:.1f}s", *seconds);
  return short_age(Duration(static_cast<int64_t>(std::llround(*seconds * 1000))));
}

std::string age_of(const WatchRow& row) {
  return row.oldest ? short_age(*row.oldest) : "-";
}

// Items on as few lines as they need, two spaces between them.
std::vector<std::string> flow(const std::vector<std::string>& items, size_t width) {
  std::vector<std::string> lines;
  for (const std::string& item : items) {
    bool fits = !lines.empty() && columns_of(lines.back()) + 2 + columns_of(item) <= width;
    if (fits)
      lines.back() += "  " + item;
    else
      lines.push_back(cut(item, width));
  }
  return lines;
}

std::vector<std::string> summary(const WatchRow& total, size_t width) {
  std::vector<std::string> lines;
  auto add = [&](const std::vector<std::string>& items) {
    auto more = flow(items, width);
    lines.insert(lines.end(), more.begin(), more.end());
  };
  auto number = [](const char* name, int64_t n) {
    return fmt::format("{} {}", name, compact(static_cast<double>(n)));
  };
  const Pace& pace = total.pace;
  add({fmt::format("submitted {}/s", compact(pace.submitted)),
       fmt::format("completed {}/s", compact(pace.completed)),
       fmt::format("failed {}/s", compact(pace.failed))});
  add({number("pending", total.pending), number("running", total.running),
       fmt::format("oldest {}", age_of(total)), number("scheduled", total.scheduled),
       number("waiting", total.waiting), number("failed", total.failed)});
  size_t columns = std::clamp<size_t>(width / 4, kSparkMin, kSparkMax);
  add({fmt::format("wait {:>5} {}", compact_latency(pace.wait_s), sparkline(total.waits, columns)),
       fmt::format("run {:>5} {}", compact_latency(pace.run_s), sparkline(total.runs, columns))});
  return lines;
}

// ---------------------------------------------------------------- the table

struct Column {
  std::string title;
  size_t width;
  int order;  // the highest are given up first
  std::function<std::string(const WatchRow&, size_t width)> cell;
  bool grows = false;  // a sparkline
};

Column number_column(const char* title, size_t width, int order,
                     std::function<std::string(const WatchRow&)> text) {
  return {title, width, order, [text = std::move(text)](const WatchRow& row, size_t columns) {
            return fill_left(text(row), columns);
          }};
}

// layout: table
std::vector<Column> columns_for(WatchOf of) {
  std::vector<Column> columns;
  if (of == WatchOf::queues) {
    columns.push_back(number_column("PEND", 5, 0, [](const WatchRow& row) {
      return compact(static_cast<double>(row.pending));
    }));
    columns.push_back(number_column("RUN", 5, 1, [](const WatchRow& row) {
      return compact(static_cast<double>(row.running));
    }));
    columns.push_back(number_column("OLD", 4, 3, age_of));
  }
  columns.push_back(
      number_column("IN/S", 5, 6, [](const WatchRow& row) { return compact(row.pace.submitted); }));
  columns.push_back(number_column("DONE/S", 6, 2,
                                  [](const WatchRow& row) { return compact(row.pace.completed); }));
  columns.push_back(
      number_column("FAIL/S", 6, 5, [](const WatchRow& row) { return compact(row.pace.failed); }));
  columns.push_back(number_column(
      "WAIT", 5, 4, [](const WatchRow& row) { return compact_latency(row.pace.wait_s); }));
  columns.push_back({"", kSparkMin, 8,
                     [](const WatchRow& row, size_t width) {
                       return fill_left(sparkline(row.waits, width), width);
                     },
                     true});
  columns.push_back(number_column(
      "TOOK", 5, 7, [](const WatchRow& row) { return compact_latency(row.pace.run_s); }));
  columns.push_back({"", kSparkMin, 9,
                     [](const WatchRow& row, size_t width) {
                       return fill_left(sparkline(row.runs, width), width);
                     },
                     true});
  return columns;
}

// Why a queue stands still, in a word that follows its name.
std::string_view trouble(const WatchView& view, const WatchRow& row) {
  if (view.of == WatchOf::types) return "";
  return row.paused ? " paused" : row.slots == 0 ? " unserved" : "";
}

size_t widest_name(const WatchView& view) {
  size_t widest = kNameMin;
  for (const WatchRow& row : view.rows)
    widest = std::max(widest, columns_of(row.name) + trouble(view, row).size());
  return widest;
}

size_t width_of(const std::vector<Column>& columns) {
  size_t sum = 0;
  for (const Column& column : columns) sum += 1 + column.width;
  return sum;
}

// Gives up columns until the names have room, then shares out what is left.
size_t fit(std::vector<Column>& columns, size_t widest, size_t width) {
  size_t wanted = std::min(widest, std::max(width / 5, std::min(kNameWanted, width / 2)));
  while (!columns.empty() && wanted + width_of(columns) > width)
    columns.erase(std::max_element(columns.begin(), columns.end(),
                                   [](const auto& a, const auto& b) { return a.order < b.order; }));
  size_t left = width - std::min(width, width_of(columns));
  size_t name = std::min(widest, left);
  left -= name;
  auto growing = static_cast<size_t>(std::count_if(
      columns.begin(), columns.end(), [](const Column& column) { return column.grows; }));
  for (Column& column : columns)
    if (column.grows) column.width = std::min(kSparkMax, column.width + left / growing);
  return name;
}

std::string name_cell(const WatchView& view, const WatchRow& row, const Screen& screen,
                      size_t width) {
  std::string_view word = trouble(view, row);
  if (word.size() + kNameMin > width) word = "";
  std::string name = cut(printable(screen, row.name), width - word.size());
  size_t used = columns_of(name) + word.size();
  return name + coloured(screen, "paused", word) + std::string(width - used, ' ');
}

bool is_active(const WatchRow& row) {
  return row.pending + row.running > 0 || row.pace.submitted.value_or(0) > 0 ||
         row.pace.completed.value_or(0) + row.pace.failed.value_or(0) > 0;
}

std::vector<std::string> table(const WatchView& view, const Screen& screen, size_t lines_max) {
  if (lines_max < 2) return {};
  std::vector<Column> columns = columns_for(view.of);
  size_t name = fit(columns, widest_name(view), screen.width);
  std::string header = fill_right(view.of == WatchOf::queues ? "QUEUE" : "TYPE", name);
  for (const Column& column : columns) header += " " + fill_left(column.title, column.width);
  header.erase(header.find_last_not_of(' ') + 1);
  std::vector<std::string> lines{header};
  std::vector<const WatchRow*> rows;
  for (const WatchRow& row : view.rows) rows.push_back(&row);
  bool all = rows.size() + 1 <= lines_max;
  if (!all)
    std::stable_partition(rows.begin(), rows.end(), [](auto* row) { return is_active(*row); });
  size_t shown = all ? rows.size() : lines_max - 2;
  for (size_t i = 0; i < shown; ++i) {
    std::string line = name_cell(view, *rows[i], screen, name);
    for (const Column& column : columns) line += " " + column.cell(*rows[i], column.width);
    line.erase(line.find_last_not_of(' ') + 1);
    lines.push_back(std::move(line));
  }
  if (!all)
    lines.push_back(
        cut(fmt::format("… and {} more, less busy", rows.size() - shown), screen.width));
  return lines;
}

// "14:03:22"
std::string time_of_day(TimePoint at) {
  return to_rfc3339(at).substr(11, 8);
}

}  // namespace

std::string sparkline(const Latencies& latencies, size_t columns) {
  static constexpr const char* kBlocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  size_t from = latencies.size() - std::min(latencies.size(), columns);
  double most = 0;
  for (size_t i = from; i < latencies.size(); ++i) most = std::max(most, latencies[i].value_or(0));
  std::string out;
  for (size_t i = from; i < latencies.size(); ++i) {
    double share = latencies[i] && most > 0 ? *latencies[i] / most : 0;
    auto level = static_cast<size_t>(std::ceil(share * 8));
    out += latencies[i] ? kBlocks[std::clamp<size_t>(level, 1, 8) - 1] : " ";
  }
  return out;
}

std::vector<std::string> draw(const WatchView& view, const Screen& screen) {
  const size_t width = screen.width;
  const char* what = view.of == WatchOf::queues ? "queues" : "tasks";
  std::vector<std::string> lines{
      cut(fmt::format("{} {} UTC, every {}, {}", what, time_of_day(view.at), to_text(view.interval),
                      printable(screen, view.server)),
          width)};
  auto totals = summary(view.total, width);
  lines.insert(lines.end(), totals.begin(), totals.end());
  if (view.away.empty()) {
    lines.emplace_back();
  } else {
    std::string why = printable(screen, view.away.substr(0, view.away.find('\n')));
    lines.push_back(coloured(screen, "failed", cut("no answer, trying again: " + why, width)));
  }
  auto rows = table(view, screen, screen.height - std::min(screen.height, lines.size()));
  lines.insert(lines.end(), rows.begin(), rows.end());
  if (lines.size() > screen.height) lines.resize(screen.height);
  return lines;
}

namespace {

std::string plain_pace(const Pace& pace) {
  return fmt::format("submitted {}/s completed {}/s failed {}/s wait {} run {}",
                     compact(pace.submitted), compact(pace.completed), compact(pace.failed),
                     compact_latency(pace.wait_s), compact_latency(pace.run_s));
}

std::string plain_depth(const WatchRow& row) {
  return fmt::format("pending {} running {} oldest {}", row.pending, row.running, age_of(row));
}

Json pace_json(const Pace& pace) {
  auto known = [](std::optional<double> value) { return value ? Json(*value) : Json(); };
  return {{"submitted_per_s", known(pace.submitted)},
          {"completed_per_s", known(pace.completed)},
          {"failed_per_s", known(pace.failed)},
          {"wait_p50_s", known(pace.wait_s)},
          {"run_p50_s", known(pace.run_s)}};
}

Json depth_json(const WatchRow& row) {
  return {{"pending", row.pending},
          {"running", row.running},
          {"scheduled", row.scheduled},
          {"waiting", row.waiting},
          {"failed", row.failed},
          {"oldest_pending_age_s",
           row.oldest ? Json(static_cast<double>(row.oldest->count()) / 1000) : Json()}};
}

}  // namespace

std::string plain_line(const WatchView& view) {
  std::string line = to_rfc3339(view.at);
  if (!view.away.empty()) return line + " no answer: " + view.away.substr(0, view.away.find('\n'));
  line += fmt::format(" {} {}", plain_depth(view.total), plain_pace(view.total.pace));
  for (const WatchRow& row : view.rows) {
    line += " | " + row.name;
    if (view.of == WatchOf::queues)
      line += fmt::format("{} {}", trouble(view, row), plain_depth(row));
    line += " " + plain_pace(row.pace);
  }
  return line;
}

std::string json_line(const WatchView& view) {
  Json line{{"at", to_rfc3339(view.at)}};
  if (!view.away.empty()) {
    line["error"] = view.away;
    return line.dump(-1, ' ', false, Json::error_handler_t::replace);
  }
  line["total"] = depth_json(view.total);
  line["total"].update(pace_json(view.total.pace));
  Json& rows = line[view.of == WatchOf::queues ? "queues" : "types"] = Json::array();
  for (const WatchRow& row : view.rows) {
    Json one{{"name", row.name}};
    if (view.of == WatchOf::queues) {
      one["paused"] = row.paused;
      one["slots"] = row.slots;
      one.update(depth_json(row));
    }
    one.update(pace_json(row.pace));
    rows.push_back(std::move(one));
  }
  return line.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace opscore
