#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "opscore/actor/native/builtin.h"
#include "opscore/app/bench/machine.h"
#include "opscore/app/bench/suites.h"
#include "opscore/app/python_hosting.h"
#include "opscore/app/wiring.h"
#include "opscore/store/sqlite/sqlite_store.h"

namespace opscore::bench {
namespace {

namespace fs = std::filesystem;
constexpr size_t kLoadBatch = 1000;
constexpr size_t kChecked = 1000;

double seconds_since(SteadyPoint began) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

double cpu_seconds(int whose) {
  rusage usage{};
  ::getrusage(whose, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

std::string payload(int64_t number, int64_t bytes) {
  std::string text = fmt::format(R"({{"n":{},"pad":")", number);
  if (auto have = static_cast<int64_t>(text.size()) + 2; have < bytes)
    text.append(static_cast<size_t>(bytes - have), 'x');
  return text + "\"}";
}

// What both sides of a drain need of a process.
struct Bench {
  explicit Bench(const Scene& scene) : log({.level = LogLevel::warn}) {
    SqliteOptions options;
    options.path = scene.config.store.path;
    store = open_sqlite_store(clock, random, log, options);
  }
  Log log;
  SystemClock clock;
  SystemRandom random;
  Metrics metrics;
  std::unique_ptr<Store> store;
};

// Inserts the tasks; answers a sample of keys with their inputs.
Json load(const Scene& scene, int64_t tasks) {
  Bench bench(scene);
  auto began = std::chrono::steady_clock::now();
  Json sample = Json::array();
  for (int64_t done = 0; done < tasks;) {
    std::vector<InsertItem> items;
    for (; items.size() < kLoadBatch && done < tasks; ++done) {
      items.emplace_back().spec.type = scene.type;
      items.back().spec.input = payload(done, scene.options.payload_bytes);
    }
    int64_t first = done - static_cast<int64_t>(items.size());
    auto results = bench.store->tasks().insert(std::move(items), InsertMode::all_or_nothing);
    while (static_cast<int64_t>(sample.size()) * tasks / static_cast<int64_t>(kChecked) < done &&
           sample.size() < kChecked) {
      auto pick = static_cast<int64_t>(bench.random.below(results.size()));
      sample.push_back({results[static_cast<size_t>(pick)].key.value,
                        payload(first + pick, scene.options.payload_bytes)});
    }
    scene.progress(0.5 * static_cast<double>(done) / static_cast<double>(tasks));
  }
  double seconds = seconds_since(began);
  bench.store.reset();
  return {{"seconds", seconds}, {"sample", sample}};
}

int64_t count_completed(Store& store) {
  int64_t completed = 0;
  for (const QueueStats& queue : store.reader().queues()) completed += queue.completed;
  return completed;
}

// Interpreters with the package's own actor for this purpose.
struct Hosting {
  Hosting(const Scene& scene, Log& log) : reaper(log), children(reaper, log, options_of(scene)) {}
  static PythonOptions options_of(const Scene& scene) {
    Config config = scene.config;
    auto interpreter = find_interpreter(config);
    if (!interpreter) throw interpreter.error();
    config.python.program = *interpreter;
    config.python.modules = {"opscore._host.benchmark"};
    return python_options(config, 0);
  }
  Reaper reaper;
  PythonChildren children;
};

// A freshly started worker, with registry and slots as in the server.
Json drain_loaded(const Scene& scene, int64_t tasks, bool in_python) {
  auto opening = std::chrono::steady_clock::now();
  Bench bench(scene);
  double open_seconds = seconds_since(opening);
  auto actors = std::make_shared<Registry>();
  add_builtin_actors(*actors);
  WorkerOptions options;
  options.slots = static_cast<size_t>(scene.config.worker.slots);
  options.session_name = "bench";
  options.session_context = "{}";
  std::optional<Hosting> hosting;
  double start_seconds = 0;
  if (in_python) {
    auto starting = std::chrono::steady_clock::now();
    hosting.emplace(scene, bench.log);
    hosting->children.start();
    for (CatalogueEntry& entry : hosting->children.actors()) actors->add_hosted(std::move(entry));
    options.children = &hosting->children;
    start_seconds = seconds_since(starting);
  }
  const int64_t before = count_completed(*bench.store);
  const std::string wal = scene.config.store.path + "-wal";
  double seconds = 0, cpu = cpu_seconds(RUSAGE_SELF);
  uintmax_t wal_max = 0;
  auto began = std::chrono::steady_clock::now();
  {
    Worker worker(actors, *bench.store, bench.clock, bench.random, bench.log, bench.metrics,
                  options);
    worker.start();
    for (int64_t done = 0; done < tasks;) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      done = count_completed(*bench.store) - before;
      std::error_code ignored;
      if (auto size = fs::file_size(wal, ignored); !ignored) wal_max = std::max(wal_max, size);
      scene.progress(0.5 + 0.5 * static_cast<double>(done) / static_cast<double>(tasks));
    }
    seconds = seconds_since(began);
    cpu = cpu_seconds(RUSAGE_SELF) - cpu;
    worker.stop("the bench is over");
  }
  double memory = pss_mb(::getpid());
  hosting.reset();
  auto closing = std::chrono::steady_clock::now();
  bench.store.reset();
  return {{"open_seconds", open_seconds},
          {"seconds", seconds},
          {"cpu_seconds", cpu},
          {"start_seconds", start_seconds},
          {"children_cpu_seconds", cpu_seconds(RUSAGE_CHILDREN)},
          {"close_seconds", seconds_since(closing)},
          {"wal_max_mb", static_cast<double>(wal_max) / (1 << 20)},
          {"pss_mb", memory}};
}

// Every sampled task must have its input, a result and its one attempt.
void check_sample(const Scene& scene, const Json& sample) {
  Bench bench(scene);
  for (const Json& expected : sample) {
    auto task = bench.store->reader().find(TaskKey{expected[0].get<int64_t>()});
    std::string input = expected[1].get<std::string>();
    bool echo = scene.type == "opscore.echo";
    if (!task || task->state() != State::completed || task->input != input ||
        task->result.empty() || (echo && task->result != input) ||
        bench.store->reader().attempts(task->key).size() != 1)
      throw Error(Errc::corrupt, fmt::format("bench: task {} is not as it was drained",
                                             expected[0].get<int64_t>()));
  }
}

Json one_round(const Scene& scene, int64_t tasks, bool in_python = false) {
  Json loaded = in_child([&] { return load(scene, tasks); });
  Json drained = in_child([&] { return drain_loaded(scene, tasks, in_python); });
  in_child([&] {
    check_sample(scene, loaded["sample"]);
    return Json();
  });
  auto count = static_cast<double>(tasks);
  Json round = {{"load_per_s", count / loaded["seconds"].get<double>()},
                {"drain_per_s", count / drained["seconds"].get<double>()},
                {"cpu_us_per_task", drained["cpu_seconds"].get<double>() * 1e6 / count},
                {"open_ms", drained["open_seconds"].get<double>() * 1000},
                {"checkpoint_ms", drained["close_seconds"].get<double>() * 1000},
                {"wal_max_mb", drained["wal_max_mb"]},
                {"pss_mb", drained["pss_mb"]},
                {"checked", loaded["sample"].size()}};
  if (in_python) {
    round["python_cpu_us_per_task"] = drained["children_cpu_seconds"].get<double>() * 1e6 / count;
    round["first_interpreter_ms"] = drained["start_seconds"].get<double>() * 1000;
  }
  return round;
}

Json list_times(const Scene& scene) {
  Bench bench(scene);
  auto time = [&](const TaskFilter& filter) {
    auto began = std::chrono::steady_clock::now();
    bench.store->reader().list(filter, std::nullopt, 50);
    return seconds_since(began) * 1000;
  };
  TaskFilter all, failed, other;
  failed.states = StateSet(State::failed);
  other.type = "opscore.echo";
  return {
      {"newest_ms", time(all)}, {"failed_ms", time(failed)}, {"by_type_no_match_ms", time(other)}};
}

}  // namespace

Json drain(const Scene& scene) {
  return one_round(scene, scene.options.tasks);
}

Json python(const Scene& scene) {
  return one_round(scene, scene.options.tasks, true);
}

Json growth(const Scene& scene) {
  Json rounds = Json::array();
  for (int i = 0; i < 5; ++i) rounds.push_back(one_round(scene, scene.options.tasks));
  Json first = rounds[0]["drain_per_s"], last = rounds[4]["drain_per_s"];
  return {{"rounds", rounds},
          {"last_to_first", last.get<double>() / first.get<double>()},
          {"list", in_child([&] { return list_times(scene); })}};
}

}  // namespace opscore::bench
