#pragma once
// The live views `tasks watch` and `queues watch`: what they show, and how it looks. Pure: answers
// of the server in, lines out.

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "opscore/app/cli/scrape.h"
#include "opscore/app/cli/screen.h"
#include "opscore/base/json.h"
#include "opscore/base/time.h"

namespace opscore {

// How fast, and how long it took, between two looks. Rates are per second; nothing is known before
// the second look, and of a latency when nothing started or ended.
struct Pace {
  std::optional<double> submitted, completed, failed;
  std::optional<double> wait_s, run_s;  // medians
};

// Medians of the looks so far, the latest last, one for each look.
using Latencies = std::deque<std::optional<double>>;

// What is shown of one queue, of one type, or of all.
struct WatchRow {
  std::string name;
  bool paused = false;
  // Of queues, and of all together.
  int64_t pending = 0, running = 0, scheduled = 0, waiting = 0, failed = 0;
  int slots = 0;
  std::optional<Duration> oldest;
  Pace pace;
  Latencies waits, runs;
};

Pace pace_of(const Counts& now, const Counts& before, double seconds);

enum class WatchOf : uint8_t { types, queues };

struct WatchView {
  WatchOf of = WatchOf::queues;
  std::string server;  // its URL
  TimePoint at{};
  Duration interval{0};
  std::string away;  // why the server did not answer; empty: it did
  WatchRow total;
  std::vector<WatchRow> rows;  // by name
};

// Turns answers into views, remembering what the rates and sparklines need. The views of rows that
// are gone are forgotten. One thread.
class Watch {
 public:
  Watch(WatchOf of, std::string server, Duration interval);

  // `queues`: of GET /queues, `metrics` of GET /metrics. Throws Error{malformed} when they are not.
  void look(const std::string& queues, const std::string& metrics, SteadyPoint steady,
            TimePoint now);
  void miss(std::string why, TimePoint now);  // no answer; what was known stays
  const WatchView& view() const { return view_; }

 private:
  WatchView view_;
  std::map<TypeAndQueue, Counts> last_;
  std::optional<SteadyPoint> last_at_;
};

// The whole picture: at most `height` lines of at most `width` columns.
// Escape sequences take no columns, and are there only when the screen has colours.
std::vector<std::string> draw(const WatchView& view, const Screen& screen);
// One line for a pipe, without a line break.
std::string plain_line(const WatchView& view);
std::string json_line(const WatchView& view);

// "▁▃█": the last `columns` of them, the highest as a full block; a space where there is none.
std::string sparkline(const Latencies& latencies, size_t columns);

}  // namespace opscore
