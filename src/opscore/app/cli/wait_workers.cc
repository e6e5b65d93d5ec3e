// Waiting until workers are ready.

#include <fmt/format.h>

#include <algorithm>
#include <ostream>
#include <thread>

#include "opscore/app/cli/client_commands.h"
#include "opscore/app/cli/json_field.h"

namespace opscore {
namespace {

constexpr Duration kLookEvery{50};
constexpr Duration kPatience{30'000};

bool is_ready(const Json& worker) {
  const Json canary = worker.value("canary", Json());
  const std::string state = canary.is_object() ? field_text(canary, "state") : "";
  return field_text(worker, "state") == "consuming" && state != "lost";
}

// What keeps it, as far as the session says.
std::string words_for(const Json& worker) {
  const Json canary = worker.value("canary", Json());
  std::string words = field_text(worker, "worker") + " (" + field_text(worker, "name") + ") is " +
                      field_text(worker, "state");
  if (canary.is_object()) words += ", its canary: " + field_text(canary, "words");
  if (const std::string problem = field_text(worker, "adoption_problem"); !problem.empty())
    words += ", it adopts nothing: " + problem;
  return words;
}

// Why no worker that is meant is ready; `ready` is the one that is.
std::string look(ClientContext& context, Json& ready) {
  const ApiAnswer answer = context.api.get("/workers");
  if (!answer.ok()) return fmt::format("the server answers {}", answer.status);
  const std::string wanted = context.line.ids.empty() ? "" : context.line.ids[0];
  std::string why;
  const Json listed = parse_json(answer.body);  // named: g++ 12 ends temporaries before the loop
  for (const Json& worker : listed.at("workers")) {
    if (!wanted.empty() && field_text(worker, "worker") != wanted &&
        field_text(worker, "name") != wanted)
      continue;
    if (worker.value("slots", 0) == 0) continue;  // of maintenance
    if (is_ready(worker)) {
      ready = worker;
      return {};
    }
    why += (why.empty() ? "" : "; ") + words_for(worker);
  }
  if (!why.empty()) return why;
  return wanted.empty() ? "there is no worker" : fmt::format("there is no worker {}", wanted);
}

}  // namespace

CommandExit wait_for_workers(ClientContext& context) {
  const std::string& text = context.line.wait;
  const auto patience =
      text.empty() ? std::expected<Duration, Error>(kPatience) : parse_duration(text);
  if (!patience) throw patience.error().with_context("--timeout");
  const Deadline deadline = Deadline::after(*patience);
  std::string why;
  for (;;) {
    Json ready;
    try {
      why = look(context, ready);
    } catch (const Error& error) {  // the server may be about to start, too
      if (error.code() != Errc::unavailable) throw;
      why = error.message();
    }
    if (ready.is_object()) {
      if (context.line.json)
        context.out << ready.dump() << '\n';
      else
        context.out << fmt::format("{}\tconsuming\n", field_text(ready, "worker"));
      return CommandExit::ok;
    }
    if (deadline.passed()) break;
    std::this_thread::sleep_for(std::min(kLookEvery, std::max(deadline.left(), Duration(1))));
  }
  context.err << fmt::format("opscore: workers wait: not ready within {}: {}\n", to_text(*patience),
                             why);
  return CommandExit::unfinished;
}

}  // namespace opscore
