#include "opscore/actor/python/python_children.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "opscore/base/json.h"

namespace opscore {
namespace {

constexpr Duration kRestartFirst{100};
constexpr Duration kRestartMax{5'000};
constexpr Duration kLookAtSizesEvery{1'000};
constexpr Duration kLeaveGrace{2'000};  // when everything is being stopped
constexpr Duration kExitGrace{10'000};  // threads of the application may keep it from ending
constexpr Duration kFilesSettle{200};
constexpr Duration kAskEvery{100};
constexpr int kDoublings = 8;

Duration restart_delay(int failures) {
  return std::min(kRestartFirst * (1 << std::min(failures, kDoublings)), kRestartMax);
}

FileDescriptor package_file(std::string_view package) {
  FileDescriptor file(::memfd_create("opscore.zip", MFD_CLOEXEC));
  size_t done = 0;
  while (file.is_open() && done < package.size()) {
    ssize_t written = ::write(file.get(), package.data() + done, package.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) break;
    done += static_cast<size_t>(written);
  }
  if (!file.is_open() || done < package.size())
    throw Error(Errc::unavailable, fmt::format("put the Python package into memory: {}",
                                               std::generic_category().message(errno)));
  return file;
}

std::vector<CatalogueEntry> entries_of(const Json& hello) {
  std::vector<CatalogueEntry> entries;
  for (const Json& actor : hello.at("actors")) {
    entries.push_back(decode_entry(actor.dump()));
    entries.back().kind = "python";
  }
  return entries;
}

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

}  // namespace

PythonChildren::PythonChildren(Reaper& reaper, Log& log, PythonOptions options)
    : reaper_(reaper),
      log_(log),
      options_(std::move(options)),
      package_(package_file(options_.package)),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      places_(options_.processes) {
  if (!wake_.is_open())
    throw Error(Errc::unavailable,
                fmt::format("make an eventfd: {}", std::generic_category().message(errno)));
}

PythonChildren::~PythonChildren() {
  stop();
}

void PythonChildren::start(const std::function<bool()>& gives_up) {
  if (options_.watch) watch_.emplace(*options_.watch);
  thread_ = std::jthread([this](std::stop_token stop) {
    name_thread("children");
    serve(stop);
  });
  MutexLock lock(mutex_);
  while (!changed_.wait_for(lock, kAskEvery,
                            [this]() OPSCORE_REQUIRES(mutex_) { return actors_ || refusal_; }))
    if (gives_up()) throw Error(Errc::cancelled, "asked to stop while Python was importing");
  if (refusal_) throw Error(Errc::invalid, *refusal_);
}

std::vector<CatalogueEntry> PythonChildren::actors() const {
  MutexLock lock(mutex_);
  return actors_.value_or(std::vector<CatalogueEntry>{});
}

void PythonChildren::stop() {
  thread_.request_stop();
  wake();
  if (thread_.joinable()) thread_.join();
}

void PythonChildren::reload() {
  {
    MutexLock lock(mutex_);
    reload_ = true;
  }
  wake();
}

std::string PythonChildren::words() const {
  MutexLock lock(mutex_);
  return words_;
}

std::string PythonChildren::surroundings() const {
  MutexLock lock(mutex_);
  return surroundings_;
}

void PythonChildren::wake() const {
  const uint64_t one = 1;
  [[maybe_unused]] ssize_t written = ::write(wake_.get(), &one, sizeof one);
}

// What is ready by now is announced by the serving thread, which alone knows.
void PythonChildren::listen(ChildListener* listener) {
  {
    MutexLock lock(listener_mutex_);
    listener_ = listener;
  }
  if (!listener) return;
  {
    MutexLock lock(mutex_);
    announce_ = true;
  }
  wake();
}

bool PythonChildren::tell(const std::function<void(ChildListener&)>& call) {
  MutexLock lock(listener_mutex_);
  if (!listener_) return false;
  call(*listener_);
  return true;
}

PythonChildren::Child PythonChildren::find(ChildId id) const {
  MutexLock lock(mutex_);
  auto found = children_.find(id);
  return found == children_.end() ? nullptr : found->second;
}

void PythonChildren::send(ChildId id, const std::string& frame) {
  Child child = find(id);
  if (child && !child->send(frame)) wake();  // the serving thread writes the rest
}

void PythonChildren::run(ChildId child, const std::vector<HostedTask>& tasks) {
  send(child, run_frame(tasks));
}

void PythonChildren::stop(ChildId child, uint64_t number, HostedStop why) {
  send(child, stop_frame(number, why));
}

void PythonChildren::take_back(ChildId child, uint64_t number) {
  send(child, take_back_frame(number));
}

void PythonChildren::reply(ChildId child, uint64_t call, const StepReply& reply) {
  send(child, step_frame(call, reply));
}

void PythonChildren::kill(ChildId child, const std::string& why) {
  {
    MutexLock lock(mutex_);
    orders_.push_back({child, true, why});
  }
  wake();
}

void PythonChildren::let_go(ChildId child) {
  {
    MutexLock lock(mutex_);
    orders_.push_back({child, false, {}});
  }
  wake();
}

std::vector<HostedEntry> PythonChildren::entered(ChildId id) const {
  Child child = find(id);
  return child ? child->entered() : std::vector<HostedEntry>{};
}

void PythonChildren::serve(std::stop_token stop) {
  while (!stop.stop_requested()) {
    follow_orders();
    start_missing();
    renew_outdated();
    wait_for_news();
    for (const Child& child : all()) attend(child);
    look_at_sizes();
    look_at_files();
  }
  end_all();
}

std::vector<PythonChildren::Child> PythonChildren::all() const {
  MutexLock lock(mutex_);
  std::vector<Child> found;
  for (const auto& [id, child] : children_) found.push_back(child);
  return found;
}

void PythonChildren::follow_orders() {
  std::vector<Order> orders;
  bool announce, reload;
  {
    MutexLock lock(mutex_);
    orders.swap(orders_);
    announce = std::exchange(announce_, false);
    reload = std::exchange(reload_, false);
  }
  for (const Order& order : orders) {
    Child child = find(order.child);
    if (!child) continue;
    order.kill ? child->kill(order.why) : child->close();
  }
  if (announce)
    for (const Child& child : all())
      if (child->state == PythonChild::State::ready)
        tell([&](ChildListener& to) { to.ready(child->id(), options_.threads); });
  if (reload) renew_all();
}

void PythonChildren::start_child(Place& place, size_t index, Child& into) {
  place.outdated = false;
  try {
    into = std::make_shared<PythonChild>(reaper_, options_, package_.get(), index, next_id_++);
  } catch (const Error& error) {
    place.start_at = std::chrono::steady_clock::now() + restart_delay(place.failures++);
    log_.error("start a python child: {}", error.what());
    return refuse(error.what());
  }
  into->started = std::chrono::steady_clock::now();
  MutexLock lock(mutex_);
  children_[into->id()] = into;
}

void PythonChildren::start_missing() {
  const SteadyPoint now = std::chrono::steady_clock::now();
  for (size_t i = 0; i < places_.size(); ++i)
    if (Place& place = places_[i]; !place.current && now >= place.start_at)
      start_child(place, i, place.current);
}

// A change is not forgotten while a place cannot follow it: because what was started before the
// change still imports, or has just failed to.
void PythonChildren::renew_all() {
  for (Place& place : places_) place.outdated = true;
}

void PythonChildren::renew_outdated() {
  for (size_t i = 0; i < places_.size(); ++i)
    if (places_[i].outdated) replace(places_[i], i);
}

// The new one takes over once it can run tasks; until then the old one goes on.
void PythonChildren::replace(Place& place, size_t index) {
  if (!place.current || place.next || std::chrono::steady_clock::now() < place.start_at) return;
  if (place.current->state != PythonChild::State::ready) return;
  start_child(place, index, place.next);
}

void PythonChildren::wait_for_news() {
  std::vector<pollfd> watched{{wake_.get(), POLLIN, 0}};
  for (const Child& child : all()) {
    const short events = child->wants_to_write() ? POLLIN | POLLOUT : POLLIN;
    watched.push_back({child->socket(), events, 0});
    watched.push_back({child->handle(), POLLIN, 0});
    watched.push_back({child->out(), POLLIN, 0});
    watched.push_back({child->err(), POLLIN, 0});
  }
  if (watch_) watched.push_back({watch_->file(), POLLIN, 0});
  Duration wait = reload_at_ ? kFilesSettle : kLookAtSizesEvery;
  const SteadyPoint now = std::chrono::steady_clock::now();
  for (const Place& place : places_)
    if ((!place.current || place.outdated) && place.start_at > now)
      wait = std::min(wait, std::chrono::ceil<Duration>(place.start_at - now));
  ::poll(watched.data(), watched.size(), static_cast<int>(wait.count()));
  uint64_t wakes;
  [[maybe_unused]] ssize_t got = ::read(wake_.get(), &wakes, sizeof wakes);
}

// Whether it has ended is looked at first: what it had said by then is then complete.
void PythonChildren::attend(const Child& child) {
  auto end = child->poll();
  child->flush();
  try {
    child->hear([&](ChildSpeech speech) { heard(child, std::move(speech)); });
  } catch (const Error& error) {
    log_.error("{} does not speak as it should: {}; it is killed", child->words(), error.what());
    child->kill("it did not speak as it should");
  }
  child->read_output([&](LogLevel level, const std::string& line) {
    log_.write(level, fmt::format("{}: {}", child->words(), line));
  });
  if (end) buried(child, std::move(*end));
}

void PythonChildren::heard(const Child& child, ChildSpeech speech) {
  if (speech.importing)
    log_.warn("{} is still importing {}, {}:\n{}", child->words(), speech.importing->module,
              to_text(std::chrono::floor<std::chrono::seconds>(speech.importing->since)),
              speech.importing->stack);
  if (speech.refused) {
    log_.error("{}: {}", child->words(), first_line(speech.refused->words));
    refuse(speech.refused->words + "\n" + speech.refused->trace);
  }
  if (speech.hello) greet(child, *speech.hello);
  const ChildNews& news = speech.news;
  child->tasks_done += news.ends.size();
  if (news.ends.empty() && news.dropped.empty() && news.lines.empty() && news.progress.empty() &&
      news.steps.empty())
    return;
  tell([&](ChildListener& to) { to.heard(child->id(), std::move(speech.news)); });
}

void PythonChildren::greet(const Child& child, const std::string& text) {
  const Json hello = parse_json(text);
  const auto took =
      std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now() - child->started);
  log_.info("{} is ready after {}", child->words(), to_text(took));
  child->state = PythonChild::State::ready;
  Place& place = places_[child->place()];
  place.failures = 0;
  Child before;
  if (place.next == child) {
    before = std::exchange(place.current, std::exchange(place.next, nullptr));
    before->state = PythonChild::State::retiring;
  }
  const bool is_own = hello.at("own_package").get<bool>();
  note_actors(
      entries_of(hello),
      fmt::format(
          "Python {} at {}{}", hello.at("python").get<std::string>(), options_.interpreter,
          is_own ? "; it has no package opscore, so the one inside this program is used" : ""),
      hello.at("surroundings").dump());
  tell([&](ChildListener& to) { to.ready(child->id(), options_.threads); });
  if (before && !tell([&](ChildListener& to) { to.retiring(before->id()); })) before->close();
}

void PythonChildren::note_actors(std::vector<CatalogueEntry> actors, std::string words,
                                 std::string surroundings) {
  auto same = [](const CatalogueEntry& one, const CatalogueEntry& other) {
    return encode_entry(one) == encode_entry(other);
  };
  {
    MutexLock lock(mutex_);
    words_ = std::move(words);
    surroundings_ = std::move(surroundings);
    if (actors_ && std::ranges::equal(*actors_, actors, same)) return;
    const bool is_first = !actors_;
    actors_ = std::move(actors);
    changed_.notify_all();
    if (is_first) return;
  }
  options_.on_actors();
}

// Editors and checkouts change several files one after another: that is one change.
void PythonChildren::look_at_files() {
  if (!watch_) return;
  const SteadyPoint now = std::chrono::steady_clock::now();
  if (auto paths = watch_->changed(); !paths.empty()) {
    log_.info("changed: {}{}", paths[0],
              paths.size() > 1 ? fmt::format(" and {} more", paths.size() - 1) : "");
    reload_at_ = now + kFilesSettle;
  }
  if (!reload_at_ || now < *reload_at_) return;
  reload_at_.reset();
  renew_all();
}

void PythonChildren::look_at_sizes() {
  const SteadyPoint now = std::chrono::steady_clock::now();
  if (now < look_at_sizes_at_) return;
  look_at_sizes_at_ = now + kLookAtSizesEvery;
  for (const Child& child : all())
    if (child->closed_for() > kExitGrace) child->kill("it did not end when it had nothing to do");
  for (size_t i = 0; i < places_.size(); ++i) {
    Place& place = places_[i];
    if (!place.current || place.current->state != PythonChild::State::ready) continue;
    const PythonChild& child = *place.current;
    const uint64_t bytes = options_.memory_max > 0 ? child.resident_bytes() : 0;
    const bool too_large = options_.memory_max > 0 && bytes > options_.memory_max;
    const bool has_done_enough = options_.tasks_max > 0 && child.tasks_done >= options_.tasks_max;
    if (place.next || (!too_large && !has_done_enough)) continue;
    log_.info("{} has {}: it is replaced", child.words(),
              too_large ? fmt::format("{} MiB", bytes >> 20)
                        : fmt::format("run {} tasks", child.tasks_done));
    replace(place, i);
  }
}

void PythonChildren::buried(const Child& child, ChildEnd end) {
  {
    MutexLock lock(mutex_);
    children_.erase(child->id());
  }
  Place& place = places_[child->place()];
  const bool was_ready = child->state != PythonChild::State::starting;
  if (end.why != ChildEnd::Why::left)
    log_.warn("{}{}", end.words, end.detail.empty() ? "" : "\n" + end.detail);
  if (!was_ready) {
    refuse(fmt::format("{} before it could run tasks\n{}", end.words, child->tail()));
    ++place.failures;
  }
  if (place.next == child) place.next.reset();
  if (place.current == child) place.current = std::exchange(place.next, nullptr);
  if (end.why != ChildEnd::Why::left)
    place.start_at = std::chrono::steady_clock::now() +
                     (was_ready ? kRestartFirst : restart_delay(place.failures));
  if (was_ready) tell([&](ChildListener& to) { to.ended(child->id(), std::move(end)); });
}

// Only what happens before the first child can run tasks ends the start.
void PythonChildren::refuse(std::string words) {
  MutexLock lock(mutex_);
  if (actors_ || refusal_) return;
  refusal_ = std::move(words);
  changed_.notify_all();
}

void PythonChildren::end_all() {
  for (const Child& child : all()) child->close();
  const Deadline grace = Deadline::after(kLeaveGrace);
  while (!all().empty() && !grace.passed()) {
    wait_for_news();
    for (const Child& child : all()) attend(child);
  }
  for (const Child& child : all()) child->kill("everything is being stopped");
  MutexLock lock(mutex_);
  children_.clear();
}

}  // namespace opscore
