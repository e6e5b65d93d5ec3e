#pragma once
// For tests: a task with a journal that outlives its attempts, as the engine's does, and with
// crashes where a test wants them.

#include <fmt/format.h>

#include <optional>
#include <string>
#include <vector>

#include "opscore/actor/actor.h"

namespace opscore {

struct Journal {
  struct Entry {
    std::string kind, name, request, response;
  };
  std::vector<Entry> entries;
};

// What a test's crash throws; nothing in the product catches it.
struct Crash {};

class JournaledTask final : public TaskContext {
 public:
  JournaledTask(std::string input, Journal& journal)
      : input_(std::move(input)), journal_(journal) {}

  // The process dies when the journal has this many entries: before or after the next action.
  std::optional<size_t> crash_before, crash_after;
  Deadline limit = Deadline::after(std::chrono::seconds(20));
  std::stop_source stopping;
  FakeClock time;
  std::vector<std::string> progress_seen, log_seen;
  size_t replayed = 0;

  const std::string& id() const override { return id_; }
  const std::string& type() const override { return type_; }
  const std::string& input() const override { return input_; }
  int attempt() const override { return 1; }
  std::stop_token stop() const override { return stopping.get_token(); }
  Deadline deadline() const override { return limit; }
  const Clock& clock() const override { return time; }
  void progress(std::string json) override { progress_seen.push_back(std::move(json)); }
  void log(LogLevel, std::string_view line) override { log_seen.emplace_back(line); }
  void notice(Notice) override {}

  std::string step(const std::string& kind, const std::string& name, const std::string& request,
                   const std::function<std::string()>& action) override {
    if (at_ < journal_.entries.size()) {
      const Journal::Entry& entry = journal_.entries[at_++];
      if (entry.kind != kind || entry.name != name || entry.request != request)
        throw JournalMismatch(
            fmt::format("step {}: the journal has {} {} {}, the code asks for "
                        "{} {} {}",
                        at_, entry.kind, entry.name, entry.request, kind, name, request));
      ++replayed;
      return entry.response;
    }
    if (crash_before == at_) throw Crash{};
    std::string response = action();
    if (crash_after == at_) throw Crash{};  // done, but not written down
    journal_.entries.push_back({kind, name, request, response});
    ++at_;
    return response;
  }

 private:
  const std::string id_ = "task_1";
  const std::string type_ = "agent_task";
  const std::string input_;
  Journal& journal_;
  size_t at_ = 0;
};

}  // namespace opscore
