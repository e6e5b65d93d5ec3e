#include "opscore/api/parking_lot.h"

#include <fmt/format.h>

#include <algorithm>

#include "opscore/api/views.h"

namespace opscore {
namespace {

using std::chrono::steady_clock;

constexpr Duration kHeartbeat = std::chrono::seconds(15);
constexpr Duration kWatchAtMost = std::chrono::seconds(1);  // then see who else has parked
constexpr Duration kAskAgain = std::chrono::milliseconds(200);
constexpr Duration kWaitPace = std::chrono::seconds(10);  // should the store have been away
// Streams are also looked at regularly, for what is no event: starts and progress.
constexpr Duration kStreamPace = std::chrono::milliseconds(500);
constexpr size_t kStreamsAtFullPace = 100;
// A stream gets this much at once, and more when the client has taken that: a slow reader costs
// no more than one piece.
constexpr size_t kPieceBytes = 64 << 10;
// At how many to look because of the time alone, before others get their turn.
constexpr size_t kLooksAtOnce = 64;
// Under load changes come in crowds; collecting a few more makes following them cheap.
constexpr size_t kCrowd = 64;
constexpr Duration kCrowdPause = std::chrono::milliseconds(2);

void append_sse(std::string& out, std::string_view kind, int number, std::string_view data) {
  if (number > 0) out += fmt::format("id: {}\n", number);
  out += fmt::format("event: {}\ndata: ", kind);
  // A stored payload may hold line ends, which SSE gives a meaning of its own. JSON does not mind
  // them gone: inside strings they are escaped.
  for (char c : data) out += c == '\n' || c == '\r' ? ' ' : c;
  out += "\n\n";
}

}  // namespace

ParkingLot::ParkingLot(Service& service, Routes& routes, RequestPool& pool, HttpServer& server,
                       Log& log)
    : service_(service),
      routes_(routes),
      pool_(pool),
      server_(server),
      log_(log),
      watcher_("parking", log, [this](std::stop_token stop) { return tick(stop); }) {}

ParkingLot::~ParkingLot() {
  stop();
}

void ParkingLot::start() {
  watcher_.start();
}

void ParkingLot::stop() {
  bool follows;
  {
    MutexLock lock(mutex_);
    stopped_ = true;
    follows = waits_until_ != SteadyPoint{};
  }
  if (follows) service_.store().changes().interrupt();
  watcher_.stop();
  MutexLock lock(mutex_);
  settled_.wait(lock, [this]() OPSCORE_REQUIRES(mutex_) { return looking_ == 0; });
  std::vector<ExchangeId> left;
  left.reserve(parked_.size());
  for (const auto& [id, parked] : parked_) left.push_back(id);
  lock.unlock();
  for (ExchangeId id : left) look(id);
}

void ParkingLot::park(ExchangeId id, Wait wait) {
  Parked parked;
  parked.look_at = wait.until;
  parked.wait = std::move(wait);
  add(id, std::move(parked));
}

void ParkingLot::park(ExchangeId id, Stream stream) {
  server_.open_stream(id, "text/event-stream");
  Parked parked;
  parked.wait.key = stream.key;
  parked.is_stream = true;
  parked.last_event = stream.last_event;
  parked.spoke_at = parked.look_at = steady_clock::now();
  add(id, std::move(parked));
}

void ParkingLot::add(ExchangeId id, Parked parked) {
  bool earlier;
  {
    MutexLock lock(mutex_);
    // Before the look below: whatever happens after it is seen by the watcher.
    if (parked_.empty()) since_ = service_.store().changes().position();
    earlier = parked.look_at < waits_until_;
    by_time_.emplace(parked.look_at, id.value);
    by_task_.emplace(parked.wait.key, id);
    parked_.emplace(id, std::move(parked));
  }
  look(id);
  watcher_.wake();
  if (earlier) service_.store().changes().interrupt();
}

void ParkingLot::remove(ExchangeId id) {
  MutexLock lock(mutex_);
  erase(id);
}

size_t ParkingLot::size() const {
  MutexLock lock(mutex_);
  return parked_.size();
}

void ParkingLot::erase(ExchangeId id) {
  auto found = parked_.find(id);
  if (found == parked_.end()) return;
  auto [begin, end] = by_task_.equal_range(found->second.wait.key);
  auto entry = std::find_if(begin, end, [&](const auto& pair) { return pair.second == id; });
  if (entry != end) by_task_.erase(entry);
  by_time_.erase({found->second.look_at, id.value});
  parked_.erase(found);
}

void ParkingLot::drained(ExchangeId id, uint64_t pieces) {
  {
    MutexLock lock(mutex_);
    auto found = parked_.find(id);
    if (found == parked_.end()) return;
    found->second.drained = pieces;
    if (!found->second.behind) return;
  }
  ask(id);
}

void ParkingLot::look_at(ExchangeId id, Parked& parked, SteadyPoint at) {
  by_time_.erase({parked.look_at, id.value});
  parked.look_at = at;
  by_time_.emplace(at, id.value);
}

// Slower when there are many, and each at a time of its own: those that came together would be
// looked at together for ever.
Duration ParkingLot::stream_pace(ExchangeId id) const {
  auto crowd = static_cast<int64_t>(1 + parked_.size() / kStreamsAtFullPace);
  Duration pace = std::min(kStreamPace * crowd, kHeartbeat);
  return pace - pace / 4 * static_cast<int64_t>(id.value % 64) / 64;
}

SteadyPoint ParkingLot::next_look(SteadyPoint now) const {
  return std::min(now + kWatchAtMost, by_time_.begin()->first);
}

Duration ParkingLot::tick(std::stop_token stop) {
  uint64_t since;
  SteadyPoint until;
  {
    MutexLock lock(mutex_);
    if (stopped_) return kHeartbeat;
    if (parked_.empty()) return std::chrono::hours(1);  // the next to park wakes us
    since = since_;
    until = waits_until_ = next_look(steady_clock::now());
  }
  ChangeBatch batch =
      service_.store().changes().wait(since, Changes::Interest::tasks, Deadline::at(until));
  std::vector<ExchangeId> due;
  bool more;
  {
    MutexLock lock(mutex_);
    since_ = std::max(since_, batch.position);
    waits_until_ = {};
    more = collect(batch, due);
  }
  for (ExchangeId id : due) ask(id);
  return batch.tasks.size() < kCrowd && !more ? Duration(0) : kCrowdPause;
}

// True when there are more whose time has come.
bool ParkingLot::collect(const ChangeBatch& batch, std::vector<ExchangeId>& due) {
  SteadyPoint now = steady_clock::now();
  bool more = false;
  if (batch.reset)
    for (auto& [id, parked] : parked_) due.push_back(id);
  else
    for (const auto& [at, id] : by_time_) {
      more = at <= now && due.size() == kLooksAtOnce;
      if (at > now || more) break;
      due.push_back(ExchangeId{id});
    }
  for (TaskKey key : batch.tasks) {
    auto [begin, end] = by_task_.equal_range(key);
    for (auto entry = begin; entry != end; ++entry) due.push_back(entry->second);
  }
  for (ExchangeId id : due) {
    Parked& parked = parked_.at(id);
    parked.again = true;
    // Should the pool be full, this asks once more.
    look_at(id, parked, std::max(parked.look_at, now) + kAskAgain);
  }
  return more;
}

void ParkingLot::ask(ExchangeId id) {
  pool_.push([this, id] { look(id); });
}

// Only one thread at a time looks for one request; who comes second has the first look again.
void ParkingLot::look(ExchangeId id) {
  MutexLock lock(mutex_);
  auto found = parked_.find(id);
  if (found == parked_.end()) return;
  if (found->second.looking) {
    found->second.again = true;
    return;
  }
  ++looking_;
  std::vector<Answer> answers;
  for (bool go_on = true; go_on;) {
    found->second.again = false;
    found->second.looking = true;
    Parked parked = found->second;
    const bool stopping = stopped_;
    lock.unlock();
    auto now = steady_clock::now();
    std::optional<Response> response;
    bool done;
    if (parked.is_stream) {
      done = feed(id, parked, stopping);
    } else {
      response = routes_.look(parked.wait, stopping || now >= parked.wait.until);
      done = response.has_value();
    }
    lock.lock();
    found = parked_.find(id);
    if (found == parked_.end()) break;
    if (done) {
      // Before the answer goes out: the connection's next request may park under the same id.
      erase(id);
      if (response) answers.push_back({id, std::move(*response)});
      break;
    }
    parked.drained = found->second.drained;
    go_on = found->second.again || (stopped_ && !stopping) ||
            (parked.behind && parked.drained == parked.pushed);
    parked.looking = false;
    parked.look_at = found->second.look_at;
    found->second = std::move(parked);
    look_at(id, found->second,
            found->second.is_stream ? now + stream_pace(id)
                                    : std::min(found->second.wait.until, now + kWaitPace));
  }
  --looking_;
  settled_.notify_all();
  lock.unlock();
  if (!answers.empty()) server_.reply(std::move(answers));
}

// Sends what is new to a stream. True when that was the last.
bool ParkingLot::feed(ExchangeId id, Parked& parked, bool last) {
  parked.behind = parked.drained != parked.pushed;
  if (parked.behind && !last) return false;
  // Errors have no place in a stream that has begun: it is looked at again, or ends.
  std::string bytes;
  routes_.guarded([&]() -> Reply {
    try {
      bytes = news(parked, last);
    } catch (const Error& error) {
      last |= !error.retryable();  // the task was deleted
    }
    return Response{};
  });
  auto now = steady_clock::now();
  if (bytes.empty() && now - parked.spoke_at >= kHeartbeat) bytes = ": heartbeat\n\n";
  if (bytes.empty() && !last) return false;
  parked.spoke_at = now;
  ++parked.pushed;
  server_.push(id, std::move(bytes), last);
  return last;
}

// What the stream has not seen yet; `last` is set when nothing will follow.
std::string ParkingLot::news(Parked& parked, bool& last) {
  std::string out;
  Task task = service_.get(parked.wait.key);
  for (const TaskEvent& event : service_.events(task)) {
    if (event.number <= parked.last_event) continue;
    if (out.size() > kPieceBytes) {
      parked.behind = true;
      return out;
    }
    std::string data;
    append_event(data, event);
    append_sse(out, event.kind, event.number, data);
    parked.last_event = event.number;
  }
  bool done = is_terminal(task.state());
  if (!done && !task.progress.empty() && task.progress != parked.progress) {
    append_sse(out, "progress", 0, task.progress);
    parked.progress = task.progress;
  }
  last |= done;
  return out;
}

}  // namespace opscore
