#include "opscore/worker/foreign_relay.h"

#include <algorithm>

#include "opscore/base/json.h"
#include "opscore/broker/dramatiq/task_message.h"
#include "opscore/engine/foreign_rows.h"

namespace opscore {
namespace {

constexpr Duration kLookEvery{100};
constexpr Duration kLookWithoutBrokerEvery{250};
constexpr Duration kAgain{1000};
constexpr Duration kAskRefusedEvery{10'000};
constexpr Duration kAskResultsEvery{3000};
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
  std::optional<StoredResult> result;
  std::optional<GroupMember> member;
  std::vector<ForeignMessage> group_callbacks;
  std::optional<OutboxTry> handed_over;
  bool over_http = false;
  bool refused = false;
  bool waits = false;  // for the results backend

  size_t bytes() const {
    size_t bytes = result ? result->value.size() : 0;
    for (const ForeignMessage& message : messages) bytes += message.body.size();
    for (const ForeignMessage& message : group_callbacks) bytes += message.body.size();
    return bytes;
  }
  bool needs_results() const { return result || member; }
  void take(Barrier barrier) {
    if (barrier == Barrier::cleared)
      messages.insert(messages.end(), group_callbacks.begin(), group_callbacks.end());
    if (barrier == Barrier::gone)
      warnings.push_back(
          "the group's barrier is gone, so nobody knows whether this was its last member, and its "
          "callbacks are not sent: it has expired (results.barrier_ttl), Redis has lost it, or "
          "results.url is not the Redis of the application's GroupCallbacks");
  }
};

ForeignRelay::ForeignRelay(Service& service, ForeignBroker* broker, const Clock& clock, Log& log,
                           Metrics& metrics, ForeignRelayOptions options)
    : service_(service),
      broker_(broker),
      clock_(clock),
      log_(log),
      options_(std::move(options)),
      published_(metrics.counter("opscore_foreign_messages_published_total",
                                 "Messages published to queues of Dramatiq.")),
      told_results_(metrics.counter("opscore_foreign_results_total",
                                    "Ends of tasks that the results backend was told of.")),
      loop_("foreign-relay", log, [this](std::stop_token) { return step(); }) {}

Duration ForeignRelay::step() {
  if (!options_.leads()) return kAgain;
  const std::vector<OutboxRow> rows = due();
  if (rows.empty()) return broker_ ? kLookEvery : kLookWithoutBrokerEvery;
  std::vector<Sending> sendings;
  // A bounded part at a time, so that each call gets somewhere on a slow network, too.
  size_t bytes = 0;
  for (const OutboxRow& row : rows) {
    sendings.push_back(compose(row));
    bytes += sendings.back().bytes();
    if (bytes >= kBytes) break;
  }
  tell_results(sendings);
  keep_here(sendings);
  if (!publish(sendings)) return kAgain;
  settle(sendings);
  return rows.size() == kRows || sendings.size() < rows.size() ? Duration(0) : kLookEvery;
}

std::vector<OutboxRow> ForeignRelay::due() {
  if (clock_.steady() >= ask_refused_at_) refused_.clear();
  if (clock_.steady() >= ask_results_at_) without_results_.clear();
  if (!paused_.empty()) look_at_pauses();
  std::vector<std::string> held = refused_;
  held.insert(held.end(), without_results_.begin(), without_results_.end());
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
  const EndFacts facts{*origin,
                       *task,
                       store.id_of(*task),
                       store.reader().attempts(end.task),
                       [view](const std::string& name) {
                         const Catalogue::Known* known = view->find(name);
                         return known ? &known->entry : nullptr;
                       },
                       options_.keep_results};
  FollowUps follow_ups = decide_follow_ups(end, facts, sending.row.not_before);
  sending.messages = std::move(follow_ups.messages);
  sending.warnings = std::move(follow_ups.warnings);
  sending.result = std::move(follow_ups.result);
  sending.member = std::move(follow_ups.member);
  sending.group_callbacks = std::move(follow_ups.group_callbacks);
  sending.end = end;
  sending.over_http = task->options.adopted && task->options.adopted->over_http;
}

// Before anything is published, since a callback may ask for the result that it is told of. What
// the backend does not take waits, and holds up no other.
void ForeignRelay::tell_results(std::vector<Sending>& sendings) {
  std::vector<StoredResult> results;
  std::vector<GroupMember> members;
  std::vector<Sending*> told, counted;
  for (Sending& sending : sendings) {
    if (sending.needs_results()) told.push_back(&sending);
    if (sending.result) results.push_back(*std::move(sending.result));
    if (!sending.member) continue;
    members.push_back(*std::move(sending.member));
    counted.push_back(&sending);
  }
  if (told.empty()) return;
  try {
    if (!options_.results)
      throw Error(Errc::unavailable,
                  "this process has none configured; set results.url as for the workers");
    if (!results.empty()) options_.results->store(results);
    if (!members.empty()) {
      const std::vector<Barrier> barriers = options_.results->count(members);
      for (size_t i = 0; i < barriers.size(); ++i) counted[i]->take(barriers[i]);
    }
    told_results_.add(static_cast<double>(told.size()));
    if (std::exchange(complained_of_results_, false))
      log_.info("the results backend takes results again");
  } catch (const Error& error) {
    if (error.code() != Errc::unavailable) throw;
    if (!std::exchange(complained_of_results_, true))
      log_.warn(
          "results and groups of {} adopted tasks wait for the results backend, with the callbacks "
          "of these tasks: {}",
          told.size(), error.what());
    ask_results_at_ = clock_.steady() + kAskResultsEvery;
    for (Sending* sending : told) {
      sending->waits = true;
      sending->messages.clear();
      if (std::ranges::count(without_results_, sending->row.destination) == 0)
        without_results_.push_back(sending->row.destination);
    }
  }
}

void ForeignRelay::keep_here(std::vector<Sending>& sendings) {
  for (Sending& sending : sendings)
    if (sending.over_http && !sending.waits) make_tasks(sending);
}

// Leaves the messages that are to be published.
void ForeignRelay::make_tasks(Sending& sending) {
  std::vector<ForeignMessage> others;
  for (ForeignMessage& message : sending.messages) try {
      service_.take_message(message.body);
    } catch (const Error& error) {
      if (error.code() == Errc::queue_full) {  // those that are tasks already will be replays
        sending.refused = true;
        sending.messages.clear();
        return;
      }
      if (error.retryable()) throw;
      if (broker_ && error.code() == Errc::not_found)
        others.push_back(std::move(message));
      else
        sending.warnings.push_back(
            fmt::format("a message that follows was not sent: {}", error.what()));
    }
  sending.messages = std::move(others);
}

// False when the broker does not take them: the rows stay.
bool ForeignRelay::publish(std::vector<Sending>& sendings) {
  std::vector<ForeignMessage> messages;
  for (const Sending& sending : sendings)
    messages.insert(messages.end(), sending.messages.begin(), sending.messages.end());
  if (messages.empty()) return true;
  if (!broker_) return keep_unsent(sendings);
  try {
    const std::vector<bool> taken = broker_->publish(messages);
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

bool ForeignRelay::keep_unsent(std::vector<Sending>& sendings) {
  for (Sending& sending : sendings) sending.refused |= !sending.messages.empty();
  if (!std::exchange(complained_, true))
    log_.warn("messages for Dramatiq wait: this process knows no RabbitMQ; set RABBITMQ_URL");
  return true;
}

void ForeignRelay::settle(const std::vector<Sending>& sendings) {
  std::vector<int64_t> settled;
  std::vector<OutboxTry> told;
  for (const Sending& sending : sendings) {
    if (sending.waits) continue;
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
