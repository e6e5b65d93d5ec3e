// Measures a store by itself, through its public interface. The embedded one: bulk inserts, a drain
// by one claiming and one finishing thread, many threads with single inserts, and one caller alone.
// PostgreSQL: each step of a task's life in batches, by one and by two threads and connections; or
// whole lives, a figure for each tenth of TASKS, and then for MINUTES more beside a transaction
// that stays open, so that the server can clean nothing up.
//
//   store_bench [FOLDER] [TASKS]
//   store_bench postgresql://... [TASKS] [held MINUTES]   (makes the schema opscore_bench anew)
//
// FOLDER must be on a real disk: every figure includes the commits. Prints one line a figure.

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/vfs.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <mutex>
#include <thread>

#include "opscore/model/decide.h"
#include "opscore/store/postgres/postgres_store.h"
#include "opscore/store/sqlite/sqlite_store.h"

namespace opscore {
namespace {

using Steady = std::chrono::steady_clock;

double seconds_since(Steady::time_point start) {
  return std::chrono::duration<double>(Steady::now() - start).count();
}

// Wall time tells what users get, CPU time what it costs, also on a busy machine.
class Stopwatch {
 public:
  double seconds() const { return seconds_since(start_); }
  std::string rate(size_t tasks) const {
    auto count = static_cast<double>(tasks);
    return fmt::format("{:.0f} tasks/s, {:.1f} us of CPU a task", count / seconds(),
                       (cpu_seconds() - cpu_) / count * 1e6);
  }

 private:
  static double cpu_seconds() {
    struct rusage used{};
    ::getrusage(RUSAGE_SELF, &used);
    auto seconds = [](const timeval& time) {
      return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
    };
    return seconds(used.ru_utime) + seconds(used.ru_stime);
  }
  Steady::time_point start_ = Steady::now();
  double cpu_ = cpu_seconds();
};

InsertItem one_task() {
  InsertItem item;
  item.spec.type = "bench.noop";
  item.spec.queue = "bench";
  item.spec.input = "{\"payload\":\"" + std::string(186, 'x') + "\"}";
  return item;
}

struct Bench {
  SystemClock clock;
  SystemRandom random;
  std::unique_ptr<Log> log = silent_log();
  std::string path;

  std::unique_ptr<Store> open() {
    SqliteOptions options;
    options.path = path;
    return open_sqlite_store(clock, random, *log, options);
  }
};

void insert_bulk(Store& store, size_t tasks, size_t batch) {
  Stopwatch watch;
  const std::vector items(batch, one_task());
  for (size_t done = 0; done < tasks; done += batch)
    store.tasks().insert(items, InsertMode::all_or_nothing);
  fmt::print("insert, {} a call: {}\n", batch, watch.rate(tasks));
}

// Hands claimed batches from the claiming to the finishing thread, a few at a time.
class Pipe {
 public:
  void put(std::vector<ClaimedTask> tasks) {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [this] { return batches_.size() < 4; });
    batches_.push_back(std::move(tasks));
    filled_.notify_one();
  }
  std::vector<ClaimedTask> take() {
    std::unique_lock lock(mutex_);
    filled_.wait(lock, [this] { return !batches_.empty(); });
    auto tasks = std::move(batches_.front());
    batches_.erase(batches_.begin());
    room_.notify_one();
    return tasks;
  }

 private:
  std::mutex mutex_;
  std::condition_variable room_, filled_;
  std::vector<std::vector<ClaimedTask>> batches_;
};

void drain(Bench& bench, Store& store, size_t tasks, size_t batch) {
  SessionId session = store.fleet().open_session("bench", "{}");
  auto types = std::make_shared<const std::vector<std::string>>(1, "bench.noop");
  Pipe pipe;
  Stopwatch watch;
  std::jthread finisher([&] {
    for (size_t finished = 0; finished < tasks;) {
      auto claimed = pipe.take();
      std::vector<Plan> plans;
      plans.reserve(claimed.size());
      TimePoint now = bench.clock.now();
      for (const ClaimedTask& task : claimed)
        plans.push_back(
            decide_finish(task, Outcome::complete("{\"ok\":true}"), now, now, bench.random));
      finished += store.tasks().apply(std::move(plans)).size();
    }
  });
  for (size_t claimed = 0; claimed < tasks;) {
    ClaimRequest request;
    request.session = session;
    request.queues = {{"bench", batch}};
    request.types = types;
    auto result = store.tasks().claim(request);
    claimed += result.tasks.size();
    pipe.put(std::move(result.tasks));
  }
  finisher.join();
  fmt::print("drain, claims of {}: {}\n", batch, watch.rate(tasks));
}

void insert_single(Store& store, size_t threads, size_t per_thread) {
  std::vector<std::vector<double>> took(threads);
  Stopwatch watch;
  {
    std::vector<std::jthread> callers;
    for (auto& mine : took)
      callers.emplace_back([&store, &mine, per_thread] {
        for (size_t i = 0; i < per_thread; ++i) {
          auto begun = Steady::now();
          store.tasks().insert({one_task()}, InsertMode::per_item);
          mine.push_back(seconds_since(begun) * 1e3);
        }
      });
  }
  std::string rate = watch.rate(threads * per_thread);
  std::vector<double> all;
  for (auto& mine : took) all.insert(all.end(), mine.begin(), mine.end());
  std::ranges::sort(all);
  fmt::print("single inserts, {} threads: {}, p50 {:.3f} ms, p99 {:.3f} ms\n", threads, rate,
             all[all.size() / 2], all[all.size() * 99 / 100]);
}

void list_pages(Store& store, const char* what, const TaskFilter& filter) {
  Stopwatch watch;
  TaskPage page = store.reader().list(filter, {}, 50);
  fmt::print("list {}: {} tasks in {:.2f} ms\n", what, page.tasks.size(), watch.seconds() * 1e3);
}

void print_memory(const char* when) {
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line))
    if (line.starts_with("VmRSS")) fmt::print("memory {}: {}\n", when, line.substr(6));
}

void print_wal(const std::string& path) {
  std::error_code none;
  auto size = std::filesystem::file_size(path + "-wal", none);
  fmt::print("WAL file: {:.1f} MiB\n", none ? 0.0 : static_cast<double>(size) / (1 << 20));
}

int run(const std::string& folder, size_t tasks) {
  constexpr long kTmpfs = 0x01021994;
  struct statfs info{};
  if (::statfs(folder.c_str(), &info) != 0 || info.f_type == kTmpfs) {
    fmt::print(stderr, "'{}' is not a folder on a disk\n", folder);
    return 2;
  }
  Bench bench;
  bench.path = folder + "/store_bench.db";
  for (const char* suffix : {"", "-wal", "-shm"}) std::filesystem::remove(bench.path + suffix);
  print_memory("before");
  {
    auto store = bench.open();
    insert_bulk(*store, tasks, 1000);
    print_memory("with all tasks pending");
    print_wal(bench.path);
  }
  Stopwatch opening;
  auto store = bench.open();
  fmt::print("open with {} pending: {:.1f} ms; {}\n", tasks, opening.seconds() * 1e3,
             opening.rate(tasks));
  drain(bench, *store, tasks / 2, 1000);
  drain(bench, *store, tasks - tasks / 2, 512);
  print_wal(bench.path);
  print_memory("after the drain");
  store.reset();
  Stopwatch reopening;
  store = bench.open();
  fmt::print("open with {} finished: {:.1f} ms\n", tasks, reopening.seconds() * 1e3);
  list_pages(*store, "newest", {});
  list_pages(*store, "failed", {.states = StateSet(State::failed)});
  list_pages(*store, "unfinished", {.states = StateSet(State::pending, State::running)});
  list_pages(*store, "pending or failed", {.states = StateSet(State::pending, State::failed)});
  list_pages(*store, "of a type that does not exist", {.type = "none"});
  insert_single(*store, 64, 2000);
  insert_single(*store, 1, 2000);
  return 0;
}

// `threads` at once, each with its share.
void together(const char* what, size_t threads, size_t tasks, size_t batch,
              const std::function<void(size_t share)>& act) {
  Stopwatch watch;
  {
    std::vector<std::jthread> callers;
    for (size_t i = 0; i < threads; ++i) callers.emplace_back([&] { act(tasks / threads); });
  }
  fmt::print("{}, batches of {}, {} connection(s): {}\n", what, batch, threads, watch.rate(tasks));
}

class PostgresBench {
 public:
  PostgresBench(Bench& bench, const std::string& url, size_t connections) : bench_(bench) {
    PostgresOptions options;
    options.url = url;
    options.schema = "opscore_bench";
    options.write_connections = connections;
    options.timeout = std::chrono::seconds(30);
    drop_postgres_schema(options);
    store_ = open_postgres_store(bench.clock, bench.random, *bench.log, options);
    request_.session = store_->fleet().open_session("bench", "{}");
    request_.types = std::make_shared<const std::vector<std::string>>(1, "bench.noop");
  }

  void run(size_t threads, size_t tasks, size_t batch) {
    const std::vector items(batch, one_task());
    request_.queues = {{"bench", batch}};
    auto insert = [&](size_t share) {
      for (size_t done = 0; done < share; done += batch)
        store_->tasks().insert(items, InsertMode::all_or_nothing);
    };
    std::mutex mutex;
    std::vector<ClaimedTask> claimed;
    together("insert", threads, tasks, batch, insert);
    together("claim", threads, tasks, batch, [&](size_t share) {
      for (size_t done = 0; done < share;) {
        auto got = store_->tasks().claim(request_).tasks;
        if (got.empty()) return;
        done += got.size();
        std::lock_guard lock(mutex);
        claimed.insert(claimed.end(), got.begin(), got.end());
      }
    });
    std::atomic<size_t> next{0};
    together("finish", threads, claimed.size(), batch, [&](size_t) {
      for (size_t from = next.fetch_add(batch); from < claimed.size(); from = next.fetch_add(batch))
        finish({claimed.begin() + static_cast<long>(from),
                claimed.begin() + static_cast<long>(std::min(from + batch, claimed.size()))});
    });
    live(threads, tasks, batch);
  }

  void live(size_t threads, size_t tasks, size_t batch) {
    const std::vector items(batch, one_task());
    request_.queues = {{"bench", batch}};
    together("whole life", threads, tasks, batch, [&](size_t share) {
      for (size_t done = 0; done < share; done += batch) {
        store_->tasks().insert(items, InsertMode::all_or_nothing);
        finish(store_->tasks().claim(request_).tasks);
      }
    });
  }

  // Claims and finishes at the same time, as a worker does.
  void drain(size_t tasks, size_t batch) {
    const std::vector items(batch, one_task());
    for (size_t done = 0; done < tasks; done += batch)
      store_->tasks().insert(items, InsertMode::all_or_nothing);
    opscore::drain(bench_, *store_, tasks, batch);
  }

 private:
  void finish(const std::vector<ClaimedTask>& tasks) {
    std::vector<Plan> plans;
    TimePoint now = bench_.clock.now();
    for (const ClaimedTask& task : tasks)
      plans.push_back(
          decide_finish(task, Outcome::complete("{\"ok\":true}"), now, now, bench_.random));
    store_->tasks().apply(std::move(plans));
  }

  Bench& bench_;
  std::unique_ptr<Store> store_;
  ClaimRequest request_;
};

int run_postgres(const std::string& url, size_t tasks) {
  Bench bench;
  for (size_t connections : {size_t{1}, size_t{2}})
    PostgresBench(bench, url, connections).run(connections, tasks, 500);
  PostgresBench(bench, url, 2).drain(tasks, 1000);
  return 0;
}

// Anything that has an old snapshot of the database keeps the server from cleaning up.
class OldSnapshot {
 public:
  explicit OldSnapshot(const std::string& url)
      : psql_(::popen(("psql -Xq -d '" + url + "' >/dev/null").c_str(), "w")) {
    if (psql_ == nullptr) throw Error(Errc::internal, "run psql: it could not be started");
    fmt::print(psql_, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class;\n");
    std::fflush(psql_);
  }
  ~OldSnapshot() { ::pclose(psql_); }

 private:
  FILE* psql_;
};

int run_held(const std::string& url, size_t tasks, double minutes) {
  Bench bench;
  PostgresBench postgres(bench, url, 2);
  for (int i = 0; i < 10; ++i) postgres.live(2, tasks / 10, 500);
  fmt::print("from here on beside an old snapshot\n");
  OldSnapshot held(url);
  for (Stopwatch watch; watch.seconds() < minutes * 60;) postgres.live(2, tasks / 10, 500);
  return 0;
}

}  // namespace
}  // namespace opscore

int main(int argc, char** argv) {
  std::string folder = argc > 1 ? argv[1] : ".";
  size_t tasks = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 300'000;
  try {
    if (folder.starts_with("postgres") && argc > 4 && argv[3] == std::string_view("held"))
      return opscore::run_held(folder, std::max<size_t>(tasks / 10'000 * 10'000, 10'000),
                               std::strtod(argv[4], nullptr));
    if (folder.starts_with("postgres"))
      return opscore::run_postgres(folder, std::max<size_t>(tasks / 2000 * 2000, 2000));
    return opscore::run(folder, std::max<size_t>(tasks / 2000 * 2000, 2000));
  } catch (const std::exception& error) {
    fmt::print(stderr, "store_bench: {}\n", error.what());
    return 1;
  }
}
