#include "opscore/worker/foreign_relay.h"

#include <algorithm>
#include <utility>

#include "opscore/base/json.h"
#include "opscore/broker/dramatiq/task_message.h"
#include "opscore/broker/foreign_row.h"
#include "opscore/model/handover.h"

namespace opscore {
namespace {

constexpr Duration kLookEvery{100};
constexpr Duration kStandby{1000};
constexpr Duration kTryAgain{1000};
constexpr Duration kAskRefusedEvery{30'000};
constexpr Duration kLookAtPausedEvery{1000};
constexpr size_t kRows = 500;

}  // namespace

ForeignRelay::ForeignRelay(Store& store, ForeignBroker& broker, const Clock& clock, Log& log,
                           Metrics& metrics, ForeignRelayOptions options)
    : store_(store),
      broker_(broker),
      clock_(clock),
      log_(log),
      options_(std::move(options)),
      published_(metrics.counter("opscore_dramatiq_published_total",
                                 "Messages that RabbitMQ has confirmed for queues of Dramatiq.")),
      loop_("foreign-relay", log, [this](std::stop_token) { return step(); }) {}

Duration ForeignRelay::step() {
  if (!options_.leads()) return kStandby;
  if (clock_.steady() >= ask_refused_at_) refused_.clear();
  if (!paused_.empty()) look_at_pauses();
  auto rows = store_.outbox().due(OutboxRow::Kind::amqp, kRows, held_back());
  if (rows.empty()) return kLookEvery;
  Batch batch = prepare(rows);
  if (!batch.void_rows.empty()) store_.outbox().settle(batch.void_rows);
  if (!publish(batch)) return kTryAgain;
  return rows.size() == kRows ? Duration(0) : kLookEvery;
}

// Queues for which nothing is published for now.
std::vector<std::string> ForeignRelay::held_back() {
  std::vector<std::string> held(refused_.begin(), refused_.end());
  held.insert(held.end(), paused_.begin(), paused_.end());
  return held;
}

// At most once a second, and only while there is something that a pause could hold back: the counts
// of queues that come with it are not for nothing.
void ForeignRelay::look_at_pauses() {
  if (clock_.steady() < look_at_) return;
  paused_.clear();
  for (const QueueStats& queue : store_.reader().queues())
    if (queue.paused) paused_.push_back(queue.name);
  look_at_ = clock_.steady() + kLookAtPausedEvery;
}

ForeignRelay::Batch ForeignRelay::prepare(const std::vector<OutboxRow>& rows) {
  look_at_pauses();
  Batch batch;
  for (const OutboxRow& row : rows)
    if (std::ranges::find(paused_, row.destination) == paused_.end()) add(batch, row);
  return batch;
}

void ForeignRelay::add(Batch& batch, const OutboxRow& row) {
  auto handover = decode_handover(row);
  if (!handover) {
    batch.rows.push_back(&row);
    batch.messages.push_back(message_of_row(row));
    batch.tries.emplace_back();
    return;
  }
  auto task = store_.reader().find(handover->task);
  // Deleted, or sent again since by another row.
  if (!task || task->live.claimable() || task->live.attempt != handover->attempt ||
      task->state() == State::running) {
    batch.void_rows.push_back(row.id);
    return;
  }
  OutboxTry tried;
  tried.row = row.id;
  tried.task = task->key;
  batch.messages.push_back(
      message_of_task(*task, store_.id_of(*task), handover->attempt, clock_.now()));
  tried.event = {0, clock_.now(), event_kind::kHandedToDramatiq, handover->attempt,
                 fmt::format(R"({{"queue":{}}})", quote_json(batch.messages.back().queue))};
  batch.rows.push_back(&row);
  batch.tries.push_back(std::move(tried));
}

bool ForeignRelay::publish(const Batch& batch) {
  if (batch.messages.empty()) return true;
  std::vector<bool> taken;
  try {
    taken = broker_.publish(batch.messages);
  } catch (const Error& error) {
    if (error.code() != Errc::unavailable) throw;
    if (!std::exchange(complained_, true))
      log_.warn("messages for Dramatiq cannot be published, trying again until they can: {}",
                error.what());
    return false;
  }
  if (std::exchange(complained_, false)) log_.info("messages for Dramatiq are published again");
  settle(batch, taken);
  return true;
}

void ForeignRelay::settle(const Batch& batch, const std::vector<bool>& taken) {
  std::vector<int64_t> settled;
  std::vector<OutboxTry> handed_over;
  for (size_t i = 0; i < batch.rows.size(); ++i) {
    if (!taken[i]) {
      refused_.insert(batch.rows[i]->destination);
      ask_refused_at_ = clock_.steady() + kAskRefusedEvery;
    } else if (batch.tries[i]) {
      handed_over.push_back(*batch.tries[i]);
    } else {
      settled.push_back(batch.rows[i]->id);
    }
  }
  store_.outbox().record(handed_over);
  if (!settled.empty()) store_.outbox().settle(settled);
  published_.add(static_cast<double>(handed_over.size() + settled.size()));
}

}  // namespace opscore
