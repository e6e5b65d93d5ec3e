#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <thread>

#include "opscore/app/bench/crowd.h"
#include "opscore/app/bench/load_client.h"
#include "opscore/app/bench/machine.h"
#include "opscore/app/bench/suites.h"
#include "opscore/app/open_files.h"
#include "opscore/app/wiring.h"
#include "opscore/base/thread.h"

namespace opscore::bench {
namespace {

constexpr size_t kConnections = 64;
constexpr size_t kBulk = 1000;
constexpr int kRate = 50;  // submits a second
constexpr size_t kMarksMax = 4096;

int64_t steady_ns() {
  return std::chrono::steady_clock::now().time_since_epoch().count();
}

// Written by the actor in the server's process, read by the load generator.
struct Marks {
  std::atomic<size_t> count{0};
  std::atomic<int64_t> delay_ns[kMarksMax];
};

// A server of its own in a child process, or the one that --url names.
class Target {
 public:
  explicit Target(const Scene& scene, Marks* marks = nullptr) {
    if (scene.options.mode == BenchOptions::Mode::server) {
      parse(scene.options.url);
      return;
    }
    Listener listener = listen_on("127.0.0.1", 0);
    port = listener.port;
    child_ = ::fork();
    if (child_ == 0) serve(scene, listener, marks);
    ::close(listener.fd);
  }
  ~Target() {
    if (child_ <= 0) return;
    ::kill(child_, SIGTERM);
    ::waitpid(child_, nullptr, 0);
  }
  Target(const Target&) = delete;
  pid_t pid() const { return child_; }

  std::string host = "127.0.0.1";
  int port = 0;

 private:
  void parse(const std::string& url) {
    size_t start = url.find("://"), colon = url.rfind(':');
    if (start == std::string::npos || colon <= start)
      throw Error(Errc::invalid,
                  fmt::format("bench: --url {} needs the form http://HOST:PORT", url));
    host = url.substr(start + 3, colon - start - 3);
    if (host == "localhost") host = "127.0.0.1";
    port = std::atoi(url.c_str() + colon + 1);
  }

  [[noreturn]] static void serve(const Scene& scene, Listener listener, Marks* marks) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &ending, nullptr);
    try {
      auto add = [&](Registry& registry) {
        if (scene.add_actors) scene.add_actors(registry);
        if (!marks) return;
        registry.add("bench.mark", [marks](TaskContext& task) -> std::string {
          int64_t sent = std::strtoll(task.input().c_str(), nullptr, 10);
          size_t place = marks->count.fetch_add(1);
          if (place < kMarksMax) marks->delay_ns[place] = steady_ns() - sent;
          return "null";
        });
      };
      WiringOptions options;
      options.listener = listener;
      Server server(scene.config, Role::up, add, options);
      server.start();
      int signal = 0;
      sigwait(&ending, &signal);
      server.stop("the bench is over");
    } catch (const std::exception& error) {
      fmt::print(stderr, "bench: the server failed: {}\n", error.what());
      ::_exit(1);
    }
    ::_exit(0);
  }

  pid_t child_ = 0;
};

Json load_report(const LoadResult& result, double tasks) {
  if (result.refused > 0)
    throw Error(Errc::internal, fmt::format("bench: {} requests were refused, the first with: {}",
                                            result.refused, result.first_refusal));
  return {{"tasks_per_s", tasks / result.seconds},
          {"p50_ms", result.percentile(0.5)},
          {"p99_ms", result.percentile(0.99)},
          {"max_ms", result.percentile(1)}};
}

std::string task_body(const Scene& scene, const std::string& type) {
  auto pad = static_cast<size_t>(std::max<int64_t>(0, scene.options.payload_bytes - 10));
  return fmt::format(R"({{"task_type":"{}","input_data":{{"pad":"{}"}}}})", type,
                     std::string(pad, 'x'));
}

// Tasks of a type that nobody claims while submits are measured: due in an hour.
std::string parked(const std::string& body) {
  return body.substr(0, body.size() - 1) + R"(,"delay":"1h"})";
}

}  // namespace

Json submit(const Scene& scene) {
  Target target(scene);
  std::string request = post("/api/v1/tasks", task_body(scene, scene.type), target.host);
  Load load{target.host, target.port, kConnections, static_cast<size_t>(scene.options.tasks),
            [&](size_t) { return request; }};
  load.progress = [&](size_t done) {
    scene.progress(static_cast<double>(done) / static_cast<double>(scene.options.tasks));
  };
  return load_report(run_load(load), static_cast<double>(scene.options.tasks));
}

Json bulk(const Scene& scene) {
  Target target(scene);
  std::string one = parked(task_body(scene, scene.type)), body = "[" + one;
  for (size_t i = 1; i < kBulk; ++i) body += "," + one;
  std::string request = post("/api/v1/tasks/batch", body + "]", target.host);
  size_t requests = std::max<size_t>(1, static_cast<size_t>(scene.options.tasks) / kBulk);
  Load load{target.host, target.port, 4, requests, [&](size_t) { return request; }};
  load.progress = [&](size_t done) {
    scene.progress(static_cast<double>(done) / static_cast<double>(requests));
  };
  return load_report(run_load(load), static_cast<double>(requests * kBulk));
}

Json latency(const Scene& scene) {
  if (scene.options.mode == BenchOptions::Mode::server)
    throw Error(Errc::invalid, "bench: the latency suite brings its own actor; run it embedded");
  void* page =
      ::mmap(nullptr, sizeof(Marks), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  OPSCORE_ASSERT(page != MAP_FAILED, "no shared memory");
  auto* marks = new (page) Marks;
  size_t count = std::clamp<size_t>(static_cast<size_t>(scene.options.tasks) / 200, 100, kMarksMax);
  {
    Target target(scene, marks);
    auto due = std::chrono::steady_clock::now();
    Load load{target.host, target.port, 1, count, [&](size_t) {
                due += std::chrono::microseconds(1'000'000 / kRate);
                std::this_thread::sleep_until(due);
                return post(
                    "/api/v1/tasks",
                    fmt::format(R"({{"task_type":"bench.mark","input_data":{}}})", steady_ns()),
                    target.host);
              }};
    load.progress = [&](size_t done) {
      scene.progress(static_cast<double>(done) / static_cast<double>(count));
    };
    load_report(run_load(load), 1);
    Deadline deadline = Deadline::after(std::chrono::seconds(5));
    while (marks->count < count && !deadline.passed())
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  std::vector<double> delays;
  for (size_t i = 0; i < std::min<size_t>(marks->count, kMarksMax); ++i)
    delays.push_back(static_cast<double>(marks->delay_ns[i]) / 1e6);
  ::munmap(page, sizeof(Marks));
  if (delays.size() < count)
    throw Error(Errc::internal,
                fmt::format("bench: only {} of {} tasks started", delays.size(), count));
  std::sort(delays.begin(), delays.end());
  return {{"p50_ms", delays[count / 2]},
          {"p99_ms", delays[count * 99 / 100]},
          {"max_ms", delays.back()},
          {"tasks", count}};
}

namespace {

constexpr size_t kTasksWaitedFor = 100;

// Tasks that are not due for an hour; answers their paths.
std::vector<std::string> submit_waited_for(const Target& target) {
  std::vector<std::string> paths;
  Load load{target.host, target.port, 1, kTasksWaitedFor, [&](size_t number) {
              std::string id = fmt::format("waited-for-{}", number);
              paths.push_back("/api/v1/tasks/" + id);
              return post(
                  "/api/v1/tasks",
                  fmt::format(R"({{"task_type":"opscore.noop","delay":"1h","task_id":"{}"}})", id),
                  target.host);
            }};
  load_report(run_load(load), 1);
  return paths;
}

// Ends what the crowd waits for, and answers how long it took until each of them knew.
double end_waiting(const Target& target, const std::vector<std::string>& paths, Crowd& crowd,
                   size_t expected) {
  auto began = std::chrono::steady_clock::now();
  Load load{target.host, target.port, 1, paths.size(),
            [&](size_t number) { return post(paths[number] + "/cancel", "{}", target.host); }};
  load_report(run_load(load), 1);
  if (size_t told = crowd.read_ends(); told != expected)
    throw Error(Errc::internal,
                fmt::format("bench: only {} of {} were told the end", told, expected));
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began)
      .count();
}

struct CrowdSize {
  size_t waits = 0, streams = 0, idle = 0;
};

// One server, with and without the crowd in turns (A BB AA BB A), so that whatever drifts while it
// runs, the machine or the size of the store, is in both figures alike.
class BesideCrowd {
 public:
  BesideCrowd(const Scene& scene, const CrowdSize& size)
      : scene_(scene), size_(size), target_(scene) {
    request_ = post("/api/v1/tasks", task_body(scene, scene.type), target_.host);
    paths_ = submit_waited_for(target_);
    for (const std::string& path : paths_) {
      waits_.push_back(path + "?wait=300s");
      streams_.push_back(path + "/events");
    }
  }

  Json run() {
    LoadResult warming_up;
    measure(1, warming_up);
    files_alone_ = files_of(target_.pid());
    measure(1, without_);
    dismiss(beside());
    measure(2, without_);
    auto crowd = beside();
    Json report = load_report(with_, static_cast<double>(with_.latencies_ms.size()));
    const size_t told = size_.waits + size_.streams;
    if (told > 0) report["all_told_ms"] = end_waiting(target_, paths_, *crowd, told);
    dismiss(std::move(crowd));
    measure(1, without_);
    report["p99_without_ms"] = load_report(without_, 1)["p99_ms"];
    report["p99_to_without"] = with_.percentile(0.99) / without_.percentile(0.99);
    report["pss_mb"] = memory_mb_;
    report["threads"] = threads_;
    return report;
  }

 private:
  static constexpr size_t kParts = 9;  // that all phases have together
  static constexpr size_t kAtOnce = 1'000;

  void measure(size_t parts, LoadResult& result) {
    const size_t part = std::max<size_t>(1, static_cast<size_t>(scene_.options.tasks) / 4);
    Load load{target_.host, target_.port, kConnections, parts * part,
              [&](size_t) { return request_; }};
    load.progress = [&](size_t done) {
      scene_.progress(static_cast<double>(done_ + done) / static_cast<double>(kParts * part));
    };
    result.add(run_load(load));
    done_ += parts * part;
  }

  // Until the server has closed its ends, too.
  void dismiss(std::unique_ptr<Crowd> crowd) const {
    crowd.reset();
    const Deadline deadline = Deadline::after(std::chrono::minutes(2));
    while (files_of(target_.pid()) > files_alone_ + kConnections && !deadline.passed())
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }

  // Measures beside a crowd, and answers it.
  std::unique_ptr<Crowd> beside() {
    auto crowd = std::make_unique<Crowd>(target_.host, target_.port);
    crowd->add(size_.waits, waits_);
    // In parts, since more than 4,096 that wait for a thread at once are refused.
    for (size_t done = 0; done < size_.streams; done += kAtOnce) {
      const size_t part = std::min(kAtOnce, size_.streams - done);
      crowd->add(part, streams_, "Accept: text/event-stream\r\n");
      crowd->read_beginnings(size_.waits + done, part);
    }
    crowd->add(size_.idle, {});
    measure(2, with_);
    memory_mb_ = std::max(memory_mb_, pss_mb(target_.pid()));
    threads_ = std::max(threads_, threads_of(target_.pid()));
    return crowd;
  }

  const Scene scene_;
  const CrowdSize size_;
  Target target_;
  std::string request_;
  std::vector<std::string> paths_, waits_, streams_;
  LoadResult with_, without_;
  size_t done_ = 0, files_alone_ = 0;
  double memory_mb_ = 0;
  size_t threads_ = 0;
};

Json beside_crowd(const Scene& scene, const CrowdSize& size) {
  if (scene.options.mode == BenchOptions::Mode::server)
    throw Error(Errc::invalid, "bench: suites with many clients bring their own server");
  const size_t all = size.waits + size.streams + size.idle;
  Config config = scene.config;
  config.server.connections_max = static_cast<int>(all + 8 * kConnections);
  if (auto note = raise_open_files(config.server.connections_max).note)
    throw Error(Errc::invalid, "bench: " + *note);
  return BesideCrowd({config, scene.options, scene.add_actors, scene.type, scene.progress}, size)
      .run();
}

}  // namespace

Json waiting(const Scene& scene) {
  return beside_crowd(scene, {.waits = 2'000, .streams = 5'000});
}

Json idle(const Scene& scene) {
  return beside_crowd(scene, {.idle = 10'000});
}

Json start(const Scene& scene) {
  Listener probe = listen_on("127.0.0.1", 0);
  ::close(probe.fd);
  auto began = std::chrono::steady_clock::now();
  pid_t child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    const std::string& data = scene.config.store.path;
    std::string port = std::to_string(probe.port);
    if (!::freopen("/dev/null", "w", stdout) || !::freopen("/dev/null", "w", stderr)) ::_exit(126);
    ::execl("/proc/self/exe", "opscore", "up", "--port", port.c_str(), "--data", data.c_str(),
            nullptr);
    ::_exit(127);
  }
  HttpClient http;
  HttpRequest request;
  request.url = fmt::format("http://127.0.0.1:{}/ready", probe.port);
  double ready_ms = 0;
  Deadline deadline = Deadline::after(std::chrono::seconds(10));
  while (ready_ms == 0 && !deadline.passed()) {
    try {
      if (http.send(request, {}, deadline).status == 200)
        ready_ms =
            std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began)
                .count();
    } catch (const Error& not_listening_yet) {
      if (deadline.passed()) throw;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  std::this_thread::sleep_for(std::chrono::seconds(2));  // settle, for the memory of an idle server
  double memory = pss_mb(child);
  ::kill(child, SIGTERM);
  ::waitpid(child, nullptr, 0);
  if (ready_ms == 0) throw Error(Errc::timeout, "bench: the server was not ready within 10 s");
  return {{"ready_ms", ready_ms}, {"idle_pss_mb", memory}};
}

}  // namespace opscore::bench
