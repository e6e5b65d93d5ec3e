#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "opscore/app/bench/load_client.h"
#include "opscore/app/bench/machine.h"
#include "opscore/app/bench/suites.h"
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
    sigprocmask(SIG_BLOCK, &ending, nullptr);
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
      EmbeddedServer server(scene.config, add, options);
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

Json start(const Scene& scene) {
  Listener probe = listen_on("127.0.0.1", 0);
  ::close(probe.fd);
  auto began = std::chrono::steady_clock::now();
  pid_t child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    ::setenv("OPSCORE_DATA", scene.config.store.path.c_str(), 1);
    std::string port = std::to_string(probe.port);
    if (!::freopen("/dev/null", "w", stdout) || !::freopen("/dev/null", "w", stderr)) ::_exit(126);
    ::execl("/proc/self/exe", "opscore", "up", "--port", port.c_str(), nullptr);
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
    } catch (const Error&) {
      // Not listening yet.
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
