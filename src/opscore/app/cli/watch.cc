// `tasks watch` without an id and `queues watch`: a view that lives on a terminal, lines in a pipe.

#include <fmt/format.h>
#include <signal.h>

#include <future>
#include <iostream>
#include <thread>

#include "opscore/app/cli/client_commands.h"
#include "opscore/app/cli/columns.h"
#include "opscore/app/cli/live_terminal.h"
#include "opscore/app/cli/watch_view.h"
#include "opscore/base/mutex.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;

constexpr Duration kPatience = 5s;  // with one call

Duration interval_of(const WatchOptions& options) {
  auto interval = parse_duration(options.interval);
  if (!interval) throw Error(Errc::invalid, "--interval: " + interval.error().message());
  if (*interval < 100ms || *interval > 1h)
    throw Error(Errc::invalid,
                fmt::format("--interval: {} is not between 100ms and 1h", options.interval));
  return *interval;
}

// A server that is away for a while comes back; one that refuses goes on refusing.
bool may_come_back(const ApiAnswer& answer) {
  return answer.status == 503 || answer.status == 429;
}

// Looks at the server and keeps what it saw. One thread.
class Looker {
 public:
  Looker(ClientContext& context, WatchOf of, std::stop_token stop)
      : clock_(context.clock),
        api_(make_http_api_client(context.config, std::move(stop), kPatience)),
        watch_(of, context.config.server_url(), interval_of(context.line.watch)) {}

  // A refusal ends the watching. A server that has answered once may be away for any time; one
  // that never did is thrown as Error.
  std::optional<ApiAnswer> look() {
    try {
      ApiAnswer answer = api_->get("/queues");
      std::string queues = std::move(answer.body);
      if (answer.ok()) answer = api_->get("/metrics");
      if (answer.ok()) {
        watch_.look(queues, answer.body, clock_.steady(), clock_.now());
        seen_ = true;
        return std::nullopt;
      }
      if (!may_come_back(answer)) return answer;
      watch_.miss(refusal_words(answer), clock_.now());
    } catch (const Error& error) {
      bool away = error.code() == Errc::unavailable || error.code() == Errc::timeout;
      if (!away || !seen_) throw;
      watch_.miss(error.what(), clock_.now());
    }
    return std::nullopt;
  }
  const WatchView& view() const { return watch_.view(); }

 private:
  const Clock& clock_;
  std::unique_ptr<ApiClient> api_;
  Watch watch_;
  bool seen_ = false;
};

CommandExit refused(ClientContext& context, WatchOf of, const ApiAnswer& answer) {
  return print_refusal(context, of == WatchOf::queues ? "watch queues" : "watch tasks", answer);
}

// One line for each look, or with --once the picture of the second: rates need two.
CommandExit watch_in_lines(ClientContext& context, WatchOf of) {
  Looker looker(context, of, {});
  const Duration interval = interval_of(context.line.watch);
  for (int looks = 1;; ++looks) {
    SteadyPoint next = std::chrono::steady_clock::now() + interval;
    if (auto refusal = looker.look()) return refused(context, of, *refusal);
    const WatchView& view = looker.view();
    bool last = context.line.watch.once && looks == 2;
    if (last || !context.line.watch.once) {
      if (context.line.json)
        context.out << json_line(view) << std::endl;
      else if (!context.screen.terminal)
        context.out << plain_line(view) << std::endl;
      else if (!last)
        context.out << cut(plain_line(view), context.screen.width) << std::endl;
      else
        for (const std::string& line : draw(view, context.screen)) context.out << line << '\n';
    }
    if (last) return view.away.empty() ? CommandExit::ok : CommandExit::unreachable;
    if (!context.out) return CommandExit::failed;  // nobody reads it any more
    std::this_thread::sleep_until(next);
  }
}

// What the thread that looks has for the one that draws.
struct Seen {
  Mutex mutex;
  StoppableCondition changed;  // only to stop waiting
  WatchView view OPSCORE_GUARDED_BY(mutex);
  bool ended OPSCORE_GUARDED_BY(mutex) = false;  // there will be nothing new
};

// The refusal that ended the looking, if one did; throws what it threw. Stopping cuts a call off.
std::optional<ApiAnswer> ended_by(std::future<std::optional<ApiAnswer>>& looking) {
  try {
    return looking.get();
  } catch (const Error& error) {
    if (error.code() != Errc::cancelled) throw;
    return std::nullopt;
  }
}

// Until it is told to stop, or the server refuses. Whatever ends it, the terminal hears of it.
std::optional<ApiAnswer> keep_looking(Looker& looker, Duration interval, Seen& seen,
                                      LiveTerminal& terminal, const std::stop_token& stop) {
  struct AtEnd {
    Seen& seen;
    LiveTerminal& terminal;
    ~AtEnd() {
      MutexLock lock(seen.mutex);
      seen.ended = true;
      terminal.notify();
    }
  } at_end{seen, terminal};
  while (!stop.stop_requested()) {
    SteadyPoint next = std::chrono::steady_clock::now() + interval;
    if (auto refusal = looker.look()) return refusal;
    MutexLock lock(seen.mutex);
    seen.view = looker.view();
    terminal.notify();
    seen.changed.wait_until(lock, stop, next, [] { return false; });
  }
  return std::nullopt;
}

// Until the user leaves or there is nothing more to see.
void show(ClientContext& context, Seen& seen, LiveTerminal& terminal) {
  while (true) {
    auto event = terminal.wait(Deadline::never());
    if (event == LiveTerminal::Event::leave) return;
    if (event == LiveTerminal::Event::none) continue;
    MutexLock lock(seen.mutex);
    if (seen.ended) return;
    terminal.draw(draw(seen.view, look_at_terminal(context.config.environment)));
  }
}

// Looking has a thread of its own, so that keys, Ctrl-C and resizing are heeded while the server is
// slow.
CommandExit watch_live(ClientContext& context, WatchOf of) {
  const Duration interval = interval_of(context.line.watch);
  std::stop_source stop;
  Looker looker(context, of, stop.get_token());
  // Before the terminal is taken, so that a wrong address is told as every command does.
  if (auto refusal = looker.look()) return refused(context, of, *refusal);
  Seen seen{.view = looker.view()};
  std::optional<int> signal;
  std::future<std::optional<ApiAnswer>> looking;
  {
    LiveTerminal terminal;
    terminal.notify();
    looking = std::async(std::launch::async, [&] {
      return keep_looking(looker, interval, seen, terminal, stop.get_token());
    });
    struct Stop {
      std::stop_source& stop;
      std::future<std::optional<ApiAnswer>>& looking;
      ~Stop() {
        stop.request_stop();
        looking.wait();
      }
    } at_end{stop, looking};
    show(context, seen, terminal);
    signal = terminal.signal();
  }
  // As if it had never been caught: a script that runs this command ends with it.
  if (signal) ::raise(*signal);
  if (auto refusal = ended_by(looking)) return refused(context, of, *refusal);
  return CommandExit::ok;
}

CommandExit watch_all(ClientContext& context, WatchOf of) {
  bool live = context.screen.moves && !context.line.json && !context.line.watch.once;
  return live ? watch_live(context, of) : watch_in_lines(context, of);
}

}  // namespace

CommandExit watch_tasks(ClientContext& context) {
  if (!context.line.ids.empty()) return watch_task(context);
  return watch_all(context, WatchOf::types);
}

CommandExit watch_queues(ClientContext& context) {
  return watch_all(context, WatchOf::queues);
}

}  // namespace opscore
