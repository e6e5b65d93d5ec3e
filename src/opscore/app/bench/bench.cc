// `opscore bench`: runs suites, prints the median of the runs with everything needed to judge it.

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "opscore/app/bench/machine.h"
#include "opscore/app/bench/suites.h"
#include "opscore/app/version.h"

namespace opscore {
namespace {

using namespace bench;

struct Suite {
  std::string_view name;
  std::string_view key_figure;  // whose median picks the run that is shown
  std::string_view type;
  Json (*run)(const Scene&);
};

constexpr Suite kSuites[] = {
    {"drain", "drain_per_s", "opscore.noop", &drain},
    {"echo", "drain_per_s", "opscore.echo", &drain},
    {"python", "drain_per_s", "bench.noop", &bench::python},
    {"bulk", "tasks_per_s", "opscore.noop", &bulk},
    {"submit", "tasks_per_s", "opscore.noop", &submit},
    {"latency", "p50_ms", "opscore.noop", &latency},
    {"waiting", "p99_to_without", "opscore.noop", &waiting},
    {"idle", "p99_to_without", "opscore.noop", &idle},
    {"start", "ready_ms", "opscore.noop", &start},
    {"growth", "last_to_first", "opscore.noop", &growth},
};

// A bar on a terminal, nothing elsewhere.
class ProgressBar {
 public:
  explicit ProgressBar(std::string label) : label_(std::move(label)), shown_(::isatty(2) == 1) {}
  ~ProgressBar() {
    if (shown_) std::fputs("\r\033[K", stderr);
  }
  void at(double done) {
    int now = static_cast<int>(std::clamp(done, 0.0, 1.0) * 30);
    if (!shown_ || now == last_) return;
    last_ = now;
    fmt::print(stderr, "\r{} [{}{}]", label_, std::string(static_cast<size_t>(now), '='),
               std::string(static_cast<size_t>(30 - now), ' '));
  }

 private:
  const std::string label_;
  const bool shown_;
  int last_ = -1;
};

Json run_suite(const Suite& suite, const Config& config, const BenchOptions& options,
               const AddActors& add_actors) {
  std::vector<Json> runs;
  for (int i = 0; i < options.runs; ++i) {
    ScratchFolder folder(config.store.path);
    Config scratch = config;
    scratch.store.path = folder.path() + "/bench.db";
    scratch.actors.clear();  // only the built-ins are measured
    scratch.server.token.clear();
    scratch.log.level = "warn";
    ProgressBar bar(fmt::format("{} {}/{}", suite.name, i + 1, options.runs));
    Scene scene{scratch, options, add_actors};
    scene.type = suite.type;
    scene.progress = [&](double done) { bar.at(done); };
    runs.push_back(suite.run(scene));
  }
  auto figure = [&](const Json& run) { return run[std::string(suite.key_figure)].get<double>(); };
  std::sort(runs.begin(), runs.end(),
            [&](const Json& a, const Json& b) { return figure(a) < figure(b); });
  return {{"suite", suite.name},
          {"figure", suite.key_figure},
          {"median", figure(runs[runs.size() / 2])},
          {"min", figure(runs.front())},
          {"max", figure(runs.back())},
          {"median_run", runs[runs.size() / 2]},
          {"runs", runs.size()}};
}

void print_suite(const Json& result) {
  fmt::print("{:<8} {} {:.6g}  [{:.6g} .. {:.6g}]\n", result["suite"].get<std::string>(),
             result["figure"].get<std::string>(), result["median"].get<double>(),
             result["min"].get<double>(), result["max"].get<double>());
  for (const auto& [name, value] : result["median_run"].items())
    if (value.is_number() && name != result["figure"].get<std::string>())
      fmt::print("           {} {:.6g}\n", name, value.get<double>());
    else if (value.is_object())
      fmt::print("           {} {}\n", name, value.dump());
  std::fflush(stdout);
}

}  // namespace

int run_bench(const Config& config, const BenchOptions& options, const AddActors& add_actors) {
  Json report;
  {
    ScratchFolder folder(config.store.path);
    report["machine"] = describe_machine(folder.path());
  }
  report["settings"] = {{"version", version()},         {"build", build_words()},
                        {"tasks", options.tasks},       {"payload_bytes", options.payload_bytes},
                        {"slots", config.worker.slots}, {"runs", options.runs},
                        {"synchronous", "FULL"},        {"claim_batch_max", limits::kClaimBatch}};
  if (!options.json)
    fmt::print("machine  {}\nsettings {}\n", report["machine"].dump(), report["settings"].dump());
  std::fflush(stdout);
  for (const Suite& suite : kSuites) {
    bool wanted = options.suite == suite.name || (options.suite == "all" && suite.name != "growth");
    bool over_http = suite.run == &submit || suite.run == &bulk;
    if (!wanted) continue;
    if (options.mode == BenchOptions::Mode::server && !over_http) {
      if (options.suite == "all") continue;
      throw Error(Errc::invalid, fmt::format("bench: suite '{}' measures an embedded store; "
                                             "against a server there are submit and bulk",
                                             suite.name));
    }
    Json result = run_suite(suite, config, options, add_actors);
    if (!options.json) print_suite(result);
    report["suites"].push_back(std::move(result));
  }
  if (options.json) fmt::print("{}\n", report.dump(2));
  return 0;
}

}  // namespace opscore
