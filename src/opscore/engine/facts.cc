#include "opscore/engine/facts.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "opscore/base/json_reader.h"
#include "opscore/model/decide.h"
#include "opscore/model/event.h"
#include "opscore/model/handover.h"
#include "opscore/model/limits.h"

namespace opscore {
namespace {

constexpr Duration kRemembered = std::chrono::hours(24);

bool is_called(const CatalogueEntry& entry, const std::string& name) {
  return entry.type == name ||
         std::find(entry.aliases.begin(), entry.aliases.end(), name) != entry.aliases.end();
}

int64_t count_running(TaskReader& reader, const CatalogueEntry& entry) {
  TaskFilter running;
  running.states = StateSet(State::running);
  int64_t count = 0;
  std::optional<TaskKey> before;
  do {
    TaskPage page = reader.list(running, before, limits::kClaimBatch);
    for (const Task& task : page.tasks) count += is_called(entry, task.type);
    before = page.next;
  } while (before);
  return count;
}

// What its history says of a task that Python runs, since it was last handed over.
void add_handover(Store& store, Facts& facts) {
  for (const TaskEvent& event : store.reader().events(facts.task.key)) {
    if (event.kind == event_kind::kRetried || event.kind == event_kind::kEditedRetry)
      facts.handed_over_at.reset();
    // Sent by hand, it is there, too.
    if (event.kind == event_kind::kHandedToDramatiq || event.kind == event_kind::kSentBack)
      facts.handed_over_at = event.at;
    if (event.kind != event_kind::kPickedUp || event.data.empty()) continue;
    JsonReader in(event.data);
    in.object([&](std::string_view name) {
      name == "worker" ? (void)(facts.picked_up_by = in.string()) : (void)in.raw();
    });
  }
}

}  // namespace

Facts gather_facts(Store& store, const Clock& clock, Task task, Duration ended_within) {
  Facts facts;
  facts.task = std::move(task);
  facts.attempts = store.reader().attempts(facts.task.key);
  for (QueueStats& stats : store.reader().queues())
    if (stats.name == facts.task.queue) facts.queue = std::move(stats);
  facts.sessions = store.fleet().sessions(ended_within);
  State state = facts.task.state();
  if (state == State::pending || state == State::scheduled)
    for (CatalogueEntry& entry : store.fleet().catalogue())
      if (is_called(entry, facts.task.type)) facts.actor = std::move(entry);
  if (facts.actor && facts.actor->concurrency_in_force() != kUnlimited)
    facts.actor_running = count_running(store.reader(), *facts.actor);
  if (!facts.task.live.claimable()) add_handover(store, facts);
  facts.now = clock.now();
  facts.unled_since = unled_since(store, facts.sessions, facts.now);
  return facts;
}

std::optional<TimePoint> unled_since(Store& store, const std::vector<Session>& sessions,
                                     TimePoint now) {
  auto since = unled_since(sessions, now);
  // The last leader may have ended in good order.
  return since ? unled_since(store.fleet().sessions(kRemembered), now) : since;
}

Session find_worker(Store& store, std::string_view worker, Duration ended_within) {
  constexpr std::string_view kPrefix = "worker-";
  std::string_view digits = worker;
  if (digits.starts_with(kPrefix)) digits.remove_prefix(kPrefix.size());
  int64_t id = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), id);
  if (error == std::errc() && end == digits.data() + digits.size())
    for (Session& session : store.fleet().sessions(ended_within))
      if (session.id == SessionId{id}) return std::move(session);
  throw Error(Errc::not_found, fmt::format("no worker '{}'; 'opscore workers list' shows those "
                                           "that there are, as worker-7",
                                           worker));
}

}  // namespace opscore
