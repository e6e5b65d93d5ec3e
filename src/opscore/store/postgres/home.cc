#include "opscore/store/postgres/home.h"

#include <fmt/format.h>

#include <algorithm>

#include "opscore/model/limits.h"
#include "opscore/store/postgres/backoff.h"

namespace opscore::postgres {
namespace {

constexpr int kNodes = 255;  // the last one is that of submit() in SQL

constexpr Statement kLeaseNode{
    "lease_node",
    "SELECT pg_try_advisory_lock(hashtext(current_schema || ':node'), $1::bigint::int)"};
constexpr Statement kLastKey{"last_key", "SELECT max(key) FROM tasks"};
constexpr Statement kTakeLead{
    "take_lead", "SELECT pg_try_advisory_lock(hashtext(current_schema || ':leader'), 0)"};
constexpr Statement kLeaveLead{
    "leave_lead", "SELECT pg_advisory_unlock(hashtext(current_schema || ':leader'), 0)"};
constexpr Statement kAlive{"session_alive",
                           "SELECT 1 FROM sessions WHERE id = $1::bigint AND ended IS NULL"};

}  // namespace

void Home::ensure(Deadline deadline) {
  MutexLock lock(mutex_);
  connect(deadline);
}

void Home::connect(Deadline deadline) {
  if (connection_ && connection_->usable()) return;
  leads_ = false;
  connection_.reset();
  for (Backoff backoff(random_);; backoff.wait(deadline)) {
    try {
      connection_ = std::make_unique<Connection>(options_, deadline);
      lease_node();
      return;
    } catch (const Failure& failure) {
      connection_.reset();
      if (failure.kind() != Failure::Kind::lost || deadline.passed()) throw;
    }
  }
}

// The one it had, when that is free; else any.
void Home::lease_node() {
  int first = node_ >= 0 ? node_ : static_cast<int>(random_.below(kNodes));
  for (int i = 0; i < kNodes; ++i) {
    int node = (first + i) % kNodes;
    if (connection_->query(kLeaseNode, Parameters::of(int64_t{node})).integer(0, 0) == 0) continue;
    TaskKey newest{connection_->query(kLastKey).integer(0, 0)};
    MutexLock lock(keys_mutex_);
    last_ = std::max(last_, newest);
    keys_.emplace(static_cast<uint8_t>(node), last_);
    node_ = node;
    return;
  }
  throw Failure(
      Failure::Kind::refused, Errc::unavailable,
      fmt::format("all {} nodes of schema {} are leased: that many processes use it; stop "
                  "some of them",
                  kNodes, options_.schema));
}

void Home::lost(const Error& error) {
  log_.warn("the connection that holds the node and leadership was lost: {}", error.what());
  connection_.reset();
  leads_ = false;
}

std::vector<TaskKey> Home::make_keys(size_t count, TimePoint now) {
  MutexLock lock(keys_mutex_);
  OPSCORE_ASSERT(keys_.has_value(), "a node is leased when the store is opened");
  std::vector<TaskKey> keys;
  keys.reserve(count);
  while (keys.size() < count) keys.push_back(last_ = keys_->next(now));
  return keys;
}

bool Home::alive(SessionId session) {
  return connection_->query(kAlive, Parameters::of(session)).size() == 1;
}

bool Home::lead(SessionId session, Deadline deadline) {
  MutexLock lock(mutex_);
  try {
    connect(deadline);
    bool vacant = !leader_ || clock_.steady() - led_at_ > limits::kSessionTtl ||
                  (leader_ != session && !alive(leader_));
    if (leader_ != session && !vacant) return false;
    if (!alive(session)) {
      if (leader_ == session) leader_ = SessionId{};
      return false;
    }
    if (!leads_) leads_ = connection_->query(kTakeLead).integer(0, 0) != 0;
    if (!leads_) return false;
    leader_ = session;
    led_at_ = clock_.steady();
    return true;
  } catch (const Failure& failure) {
    if (failure.kind() == Failure::Kind::lost) lost(failure);
    throw;
  }
}

void Home::look_after_leadership() {
  MutexLock lock(mutex_);
  if (!connection_) return;
  try {
    if (leads_ && clock_.steady() - led_at_ > limits::kSessionTtl) {
      connection_->query(kLeaveLead);
      leads_ = false;
      leader_ = SessionId{};
    } else {
      alive(leader_);  // does it still answer?
    }
  } catch (const Failure& failure) {
    if (failure.kind() == Failure::Kind::lost) lost(failure);
  }
}

}  // namespace opscore::postgres
