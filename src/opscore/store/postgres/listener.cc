#include "opscore/store/postgres/listener.h"

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>

#include "opscore/model/limits.h"
#include "opscore/store/postgres/news.h"

namespace opscore::postgres {
namespace {

constexpr Statement kHeads{
    "lane_heads",
    "SELECT s.lane, s.queue, c.key, c.place FROM lanes s CROSS JOIN LATERAL (SELECT l.key, l.place "
    "FROM live l "
    "WHERE l.lane = s.lane AND l.place <= $2::bigint AND l.state + 0 IN (0, 2) AND "
    "l.run_at <= $1::bigint ORDER BY l.place, l.key + 0 LIMIT 1) c "
    "WHERE NOT EXISTS(SELECT 1 FROM queues q WHERE q.queue = s.queue AND q.paused)"};
constexpr Statement kTime{"server_time",
                          "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"};
constexpr ServerClock::Moved kJump = std::chrono::seconds(1);  // to be told
constexpr int kShare = 20;  // a poll may take this part of the time

// Longer than the processes with a broker need to come back, short enough that an installation
// which has given its broker up soon stops to write for it.
constexpr Statement kAnnounce{"announce_until",
                              "INSERT INTO meta VALUES('announce_until', "
                              "convert_to((now() + interval '10 minutes')::text, 'UTF8')) "
                              "ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value"};
constexpr Duration kAnnounceEvery{60'000};

}  // namespace

Listener::Listener(Parts& parts, ListenerOptions options)
    : parts_(parts),
      options_(std::move(options)),
      wake_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      backoff_(parts.random),
      next_poll_(Deadline::after(options_.poll_every)),
      next_announce_(Deadline::after(kAnnounceEvery)),
      next_question_(Deadline::never()),
      loop_("pg-listener", parts.log, [this](std::stop_token) { return tick(); }) {
  if (wake_fd_ < 0) throw Error(Errc::internal, "listen to PostgreSQL: no file descriptors left");
}

Listener::~Listener() {
  ::eventfd_write(wake_fd_, 1);
  loop_.stop();
  ::close(wake_fd_);
}

void Listener::start() {
  connect(Deadline::after(parts_.timeout));
  if (options_.announce) keep_announcing();
  loop_.start();
}

void Listener::connect(Deadline deadline) {
  connection_ = std::make_unique<Connection>(options_.connect, deadline);
  connection_->execute(fmt::format("LISTEN \"{}\"", options_.channel));
  ask_the_time();
}

Duration Listener::tick() {
  try {
    if (!connection_) {
      connect(Deadline::after(parts_.timeout));
      backoff_.reset();
      parts_.feed.reset();
    }
    hear();
    if (next_question_.passed()) ask_the_time();
    if (next_poll_.passed()) {
      SteadyPoint begun = parts_.clock.steady();
      look_for_stale_work();
      // While the server cannot clean up, the way to the first due task grows long.
      auto took = std::chrono::duration_cast<Duration>(parts_.clock.steady() - begun);
      next_poll_ = Deadline::after(std::max(options_.poll_every, took * kShare));
      if (options_.announce && next_announce_.passed()) keep_announcing();
    }
    return Duration(0);
  } catch (const Failure& failure) {
    connection_.reset();
    if (failure.kind() != Failure::Kind::lost) throw;
    parts_.log.warn("listen for changes: {}", failure.what());
    return backoff_.next();
  }
}

void Listener::hear() {
  connection_->wait_for_news(wake_fd_,
                             Deadline::at(std::min(next_poll_.when(), next_question_.when())));
  for (const auto& notification : connection_->notifications()) {
    auto news = decode_news(notification.payload);
    if (news && news->origin == options_.origin) continue;
    if (!news || news->everything)
      parts_.feed.reset();
    else
      parts_.feed.publish(std::move(news->effects));
  }
}

void Listener::keep_announcing() {
  connection_->query(kAnnounce);
  next_announce_ = Deadline::after(kAnnounceEvery);
}

void Listener::ask_the_time() {
  if (options_.clock == nullptr) return;
  const SteadyPoint asked = std::chrono::steady_clock::now();
  const ServerClock::Moved said(connection_->query(kTime).integer(0, 0));
  const auto moved = options_.clock->hear(std::chrono::sys_time<ServerClock::Moved>(said), asked,
                                          std::chrono::steady_clock::now());
  next_question_ = Deadline::after(options_.poll_every);
  if (std::chrono::abs(moved) < kJump) return;
  parts_.log.warn(
      "the clock of PostgreSQL is {:.1f} s {} what it was taken for here; tasks are due "
      "by that clock",
      std::abs(std::chrono::duration<double>(moved).count()),
      moved < ServerClock::Moved(0) ? "behind" : "ahead of");
  // Until when tokens are written is a time of that clock.
  next_announce_ = Deadline::after(Duration(0));
}

// What stood first in its lane at two looks is told again: its news may have been lost with the
// process that was to take it. Claims are told where the first one of each queue stands.
void Listener::look_for_stale_work() {
  TimePoint now = parts_.clock.now();
  Rows rows = connection_->query(kHeads, Parameters::of(now, order_of(now, -limits::kPriorityMax)));
  std::map<LaneId, TaskKey> heads;
  Effects found;
  for (int i = 0; i < rows.size(); ++i) {
    LaneId lane = rows.integer(i, 0);
    std::string queue(rows.text(i, 1));
    TaskKey key{rows.integer(i, 2)};
    auto [lowest, first] = found.places.try_emplace(queue, rows.integer(i, 3));
    lowest->second = std::min(lowest->second, rows.integer(i, 3));
    heads[lane] = key;
    if (auto before = heads_.find(lane); before != heads_.end() && before->second == key)
      found.change.queues.push_back(std::move(queue));
  }
  heads_ = std::move(heads);
  parts_.feed.publish(std::move(found));
}

}  // namespace opscore::postgres
