#include "opscore/worker/foreign_relay.h"

#include <algorithm>

#include "opscore/base/json.h"
#include "opscore/broker/dramatiq/task_message.h"
#include "opscore/engine/foreign_rows.h"

namespace opscore {
namespace {

constexpr Duration kLookEvery{100};
constexpr Duration kAgain{1000};
constexpr Duration kAskRefusedEvery{10'000};
constexpr Duration kLookAtPausesEvery{1000};
constexpr size_t kRows = 500;
constexpr size_t kBytes = 4 << 20;

}  // namespace

// A row and what it comes to.
struct ForeignRelay::Sending {
  OutboxRow row;
  std::vector<ForeignMessage> messages;
  std::vector<std::string> warnings;
  std::optional<AdoptedEnd> end;
  std::optional<OutboxTry> handed_over;
  bool refused = false;
};

ForeignRelay::ForeignRelay(Service& service, ForeignBroker& broker, const Clock& clock, Log& log,
                           Metrics& metrics, ForeignRelayOptions options)
    : service_(service),
      broker_(broker),
      clock_(clock),
      log_(log),
      options_(std::move(options)),
      published_(metrics.counter("opscore_foreign_messages_published_total",
                                 "Messages published to queues of Dramatiq.")),
      loop_("foreign-relay", log, [this](std::stop_token) { return step(); }) {}

Duration ForeignRelay::step() {
  if (!options_.leads()) return kAgain;
  const std::vector<OutboxRow> rows = due();
  if (rows.empty()) return kLookEvery;
  std::vector<Sending> sendings;
  // A bounded part at a time, so that each call gets somewhere on a slow network, too.
  size_t bytes = 0;
  for (const OutboxRow& row : rows) {
    sendings.push_back(compose(row));
    for (const ForeignMessage& message : sendings.back().messages) bytes += message.body.size();
    if (bytes >= kBytes) break;
  }
  if (!publish(sendings)) return kAgain;
  settle(sendings);
  return rows.size() == kRows || sendings.size() < rows.size() ? Duration(0) : kLookEvery;
}

std::vector<OutboxRow> ForeignRelay::due() {
  if (clock_.steady() >= ask_refused_at_) refused_.clear();
  if (!paused_.empty()) look_at_pauses();
  std::vector<std::string> held = refused_;
  held.insert(held.end(), paused_.begin(), paused_.end());
  auto rows = service_.store().outbox().due(OutboxRow::Kind::amqp, kRows, held);
  if (std::ranges::none_of(rows, [](const auto& row) { return decode_handover(row).has_value(); }))
    return rows;
  look_at_pauses();
  std::erase_if(rows, [this](const OutboxRow& row) {
    return std::ranges::find(paused_, row.destination) != paused_.end();
  });
  return rows;
}

// At most once a second, and only while there is something that a pause could hold back: the counts
// of queues that come with it are not for nothing.
void ForeignRelay::look_at_pauses() {
  if (clock_.steady() < look_at_) return;
  paused_.clear();
  for (const QueueStats& queue : service_.store().reader().queues())
    if (queue.paused) paused_.push_back(handover_destination(queue.name));
  look_at_ = clock_.steady() + kLookAtPausesEvery;
}

ForeignRelay::Sending ForeignRelay::compose(OutboxRow row) {
  Sending sending;
  sending.row = std::move(row);
  try {
    if (auto handover = decode_handover(sending.row))
      compose_handover(*handover, sending);
    else if (is_adopted_row(sending.row))
      compose_ends(sending);
    else
      sending.messages.push_back(to_message(sending.row));
  } catch (const Error& error) {
    if (error.code() != Errc::corrupt) throw;
    // It would be as wrong the next time, and must not hold up all others.
    log_.error("a message for '{}' cannot be made: {}", sending.row.destination, error.what());
  }
  return sending;
}

// Nothing is sent when the task was deleted, or has been reported or handed over again since.
void ForeignRelay::compose_handover(const Handover& handover, Sending& sending) {
  Store& store = service_.store();
  const auto task = store.reader().find(handover.task);
  if (!task || task->live.claimable() || task->live.attempt != handover.attempt ||
      task->state() == State::running)
    return;
  sending.messages.push_back(
      message_of_task(*task, store.id_of(*task), handover.attempt, clock_.now()));
  OutboxTry& told = sending.handed_over.emplace();
  told.row = sending.row.id;
  told.task = task->key;
  told.event = {0, clock_.now(), event_kind::kHandedToDramatiq, handover.attempt,
                Json{{"queue", sending.messages.back().queue}}.dump()};
}

void ForeignRelay::compose_ends(Sending& sending) {
  Store& store = service_.store();
  const AdoptedEnd end = decode_adopted_row(sending.row);
  const auto task = store.reader().find(end.task);
  const auto origin = task ? store.reader().origin(end.task) : std::nullopt;
  if (!origin) {
    log_.warn("{}: the task was deleted before what its message asks for could be sent",
              store.ids().encode(end.task));
    return;
  }
  auto view = service_.catalogue().view();
  const EndFacts facts{*origin, *task, store.id_of(*task), store.reader().attempts(end.task),
                       [view](const std::string& name) {
                         const Catalogue::Known* known = view->find(name);
                         return known ? &known->entry : nullptr;
                       }};
  FollowUps follow_ups = decide_follow_ups(end, facts, sending.row.not_before);
  sending.messages = std::move(follow_ups.messages);
  sending.warnings = std::move(follow_ups.warnings);
  sending.end = end;
}

// False when the broker does not take them: the rows stay.
bool ForeignRelay::publish(std::vector<Sending>& sendings) {
  std::vector<ForeignMessage> messages;
  for (const Sending& sending : sendings)
    messages.insert(messages.end(), sending.messages.begin(), sending.messages.end());
  try {
    const std::vector<bool> taken = broker_.publish(messages);
    auto next = taken.begin();
    for (Sending& sending : sendings)
      for (size_t i = 0; i < sending.messages.size(); ++i) sending.refused |= !*next++;
    published_.add(static_cast<double>(std::count(taken.begin(), taken.end(), true)));
    if (std::exchange(complained_, false)) log_.info("messages for Dramatiq are published again");
    return true;
  } catch (const Error& error) {
    if (error.code() != Errc::unavailable) throw;
    if (!std::exchange(complained_, true))
      log_.warn("{} messages for Dramatiq wait: {}", messages.size(), error.what());
    return false;
  }
}

void ForeignRelay::settle(const std::vector<Sending>& sendings) {
  std::vector<int64_t> settled;
  std::vector<OutboxTry> told;
  for (const Sending& sending : sendings) {
    if (sending.refused) {
      refused_.push_back(sending.row.destination);
      ask_refused_at_ = clock_.steady() + kAskRefusedEvery;
    } else if (sending.handed_over) {
      told.push_back(*sending.handed_over);
    } else if (!sending.warnings.empty()) {
      OutboxTry& warned = told.emplace_back();
      warned.row = sending.row.id;
      warned.task = sending.end->task;
      warned.event = {0, clock_.now(), event_kind::kCallbackWarning, sending.end->attempt,
                      Json{{"warnings", sending.warnings}}.dump()};
    } else {
      settled.push_back(sending.row.id);
    }
  }
  service_.store().outbox().record(told);
  service_.store().outbox().settle(settled);
}

}  // namespace opscore
