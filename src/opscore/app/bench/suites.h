#pragma once
// The suites of `opscore bench`. Each works in a fresh folder beside the configured data file, with
// the server's own durability (synchronous=FULL), and answers one JSON object per run. Every server
// part runs in a child process: load and drain never share memory.

#include <functional>
#include <string>

#include "opscore/app/commands.h"
#include "opscore/base/json.h"

namespace opscore::bench {

// What a suite works with.
struct Scene {
  const Config& config;  // store.path points into the folder of this run
  const BenchOptions& options;
  const AddActors& add_actors;
  std::string type = "opscore.noop";
  std::function<void(double done)> progress = [](double) {};  // 0..1
};

// Preloads by one process, drains by a freshly started one, checks 1,000 tasks afterwards.
Json drain(const Scene& scene);
// The same with an actor in Python, in as many interpreters as there are CPUs.
Json python(const Scene& scene);
// Five rounds of `tasks` each into one file; then the time of a list page.
Json growth(const Scene& scene);
// 64 connections, one task a request.
Json submit(const Scene& scene);
// 1,000 tasks a request.
Json bulk(const Scene& scene);
// 50 submits a second; from before the request to the entry of the actor.
Json latency(const Scene& scene);
// Single submits while 2,000 clients wait for tasks and 5,000 follow events, against without them.
Json waiting(const Scene& scene);
// The same beside 10,000 connections that do nothing.
Json idle(const Scene& scene);
// From exec to the first 200 of /ready; then the memory of the idle process tree.
Json start(const Scene& scene);

}  // namespace opscore::bench
