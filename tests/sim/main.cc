// The simulation: `sim [--seeds N] [--seed N]`. Each seed is one world with faults; a failure
// prints its seed, and that seed alone repeats it.

#include <fmt/format.h>

#include <cstdlib>
#include <cstring>
#include <random>

#include "sim_world.h"

int main(int argc, char** argv) {
  uint64_t first = std::random_device{}() % 1'000'000'000ull;
  uint64_t seeds = 1000;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (!std::strcmp(argv[i], "--seed")) {
      first = std::strtoull(argv[i + 1], nullptr, 10);
      seeds = 1;
    } else if (!std::strcmp(argv[i], "--seeds")) {
      seeds = std::strtoull(argv[i + 1], nullptr, 10);
    } else {
      fmt::print(stderr, "usage: sim [--seeds N] [--seed N]\n");
      return 2;
    }
  }
  uint64_t failed = 0;
  opscore::sim::Report total;
  for (uint64_t seed = first; seed < first + seeds; ++seed) {
    auto report = opscore::sim::run_seed(seed, seeds == 1);
    total.tasks += report.tasks;
    total.steps += report.steps;
    total.faults += report.faults;
    total.deaths += report.deaths;
    total.stalls += report.stalls;
    if (report.problems.empty()) continue;
    ++failed;
    fmt::print("seed {} failed; repeat it with: ./dev sim --seed {}\n", seed, seed);
    for (const std::string& problem : report.problems) fmt::print("  {}\n", problem);
  }
  fmt::print(
      "simulation: {} seeds from {}: {} tasks, {} steps, {} faults, {} deaths, {} stalls; "
      "{} seeds failed\n",
      seeds, first, total.tasks, total.steps, total.faults, total.deaths, total.stalls, failed);
  return failed == 0 ? 0 : 1;
}
