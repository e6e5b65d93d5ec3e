#include "opscore/worker/relay.h"

#include <algorithm>

namespace opscore {
namespace {

constexpr Duration kLookEvery{250};
constexpr size_t kLookRows = 100;
constexpr size_t kCallsPerReceiver = 2;

}  // namespace

Relay::Relay(Store& store, const Clock& clock, Random& random, Log& log, Metrics& metrics,
             RelayOptions options)
    : store_(store),
      clock_(clock),
      random_(random),
      log_(log),
      metrics_(metrics),
      options_(std::move(options)),
      seconds_(metrics.duration("opscore_webhook_seconds", "How long calls of webhooks took.")) {
  for (size_t i = 0; i < options_.threads; ++i)
    loops_.emplace_back(fmt::format("relay-{}", i), log,
                        [this](std::stop_token stop) { return tick(std::move(stop)); });
}

void Relay::start() {
  for (Loop& loop : loops_) loop.start();
}

void Relay::stop() {
  for (Loop& loop : loops_) loop.stop();
}

Duration Relay::tick(std::stop_token stop) {
  if (!options_.leads()) return kLookEvery;
  const auto row = take();
  if (!row) return kLookEvery;
  struct Release {
    Relay& relay;
    const OutboxRow& row;
    ~Release() { relay.release(row); }
  } release{*this, *row};
  deliver(*row, std::move(stop));
  return Duration(0);
}

std::optional<OutboxRow> Relay::take() {
  MutexLock lock(mutex_);
  if (due_.empty() && clock_.steady() >= look_at_) refill();
  while (!due_.empty()) {
    OutboxRow row = std::move(due_.front());
    due_.pop_front();
    // A receiver that became busy since is seen again at the next look.
    size_t& calls = calls_[row.destination];
    if (calls >= kCallsPerReceiver) continue;
    ++calls;
    taken_.insert(row.id);
    return row;
  }
  return std::nullopt;
}

void Relay::refill() {
  std::vector<std::string> busy;
  for (const auto& [receiver, calls] : calls_)
    if (calls >= kCallsPerReceiver) busy.push_back(receiver);
  auto rows = store_.outbox().due(OutboxRow::Kind::effect, kLookRows, busy);
  const bool more = rows.size() == kLookRows;
  look_at_ = clock_.steady() + (more ? Duration(0) : kLookEvery);
  for (OutboxRow& row : rows)
    if (!taken_.contains(row.id)) due_.push_back(std::move(row));
}

void Relay::release(const OutboxRow& row) {
  MutexLock lock(mutex_);
  taken_.erase(row.id);
  if (auto calls = calls_.find(row.destination); --calls->second == 0) calls_.erase(calls);
}

void Relay::deliver(const OutboxRow& row, std::stop_token stop) {
  const TaskEnd end = decode_webhook_row(row);
  const auto task = store_.reader().find(end.task);
  if (!task || !task->options.webhook) {
    log_.info("webhook of {}: the task was deleted before its receiver could be told",
              store_.ids().encode(end.task));
    return store_.outbox().settle(std::span(&row.id, 1));
  }
  if (task->state() != end.state || task->live.attempt != end.attempt)
    return record(decide_superseded(row, end, clock_.now()));
  const std::string id = store_.id_of(*task);
  const SteadyPoint began = clock_.steady();
  const WebhookAnswer answer = options_.call({fmt::format("{}/{}", id, row.id), id, *task}, stop);
  if (answer.kind != WebhookAnswer::Kind::delivered && stop.stop_requested()) return;
  seconds_.observe(std::chrono::duration<double>(clock_.steady() - began).count());
  const OutboxTry tried = decide_delivery(row, end, answer, options_.policy, clock_.now(), random_);
  record(tried);
  if (tried.event.kind == event_kind::kWebhookGivenUp)
    log_.warn("webhook of {}: given up: {}", id, answer.words);
}

void Relay::record(const OutboxTry& tried) {
  store_.outbox().record(tried);
  metrics_
      .counter("opscore_webhook_calls_total",
               "Tries to tell webhooks of an end, by what came of it.",
               {{"outcome", tried.event.kind.substr(sizeof "webhook")}})
      .add();
}

}  // namespace opscore
