#include "opscore/actor/native/builtin.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <cstdlib>

#include "opscore/base/json_reader.h"
#include "opscore/base/mutex.h"
#include "opscore/model/error_kind.h"

namespace opscore {
namespace {

// A year: keeps the sum of now and the sleep far from overflow.
constexpr int64_t kSleepMsMax = 365LL * 24 * 3600 * 1000;

constexpr char kSleepSchema[] =
    R"({"type":"object","properties":{"ms":{"type":"integer","minimum":0,"maximum":31536000000}},)"
    R"("required":["ms"],"additionalProperties":false})";
constexpr char kFailSchema[] =
    R"({"type":["object","null"],"properties":{"message":{"type":"string"},)"
    R"("retryable":{"type":"boolean"}},"additionalProperties":false})";

// Inputs are checked at submit where the schema is known; a task may be older than the schema.
Outcome with_valid_input(TaskContext& task, const std::function<Outcome(JsonReader&)>& run) {
  try {
    JsonReader in(task.input());
    return run(in);
  } catch (const Error& error) {
    if (error.code() != Errc::invalid && error.code() != Errc::malformed) throw;
    std::string place = error.field().empty() ? "" : error.field() + ": ";
    return Outcome::fail({error_kind::kInvalidInput, place + error.message(), {}}, false);
  }
}

Outcome noop(TaskContext&) {
  return Outcome{};
}

Outcome echo(TaskContext& task) {
  return Outcome::complete(task.input());
}

Outcome sleep(TaskContext& task) {
  return with_valid_input(task, [&](JsonReader& in) {
    std::optional<int64_t> ms;
    in.object([&](std::string_view name) {
      if (name != "ms") in.fail(Errc::invalid, "unknown field; there is only ms");
      ms = in.integer();
      if (*ms < 0 || *ms > kSleepMsMax)
        in.fail(Errc::invalid, fmt::format("must be 0 to {}", kSleepMsMax));
    });
    in.end();
    if (!ms) throw Error(Errc::invalid, "ms is missing");
    Mutex mutex;
    StoppableCondition wake;
    MutexLock lock(mutex);
    wake.wait_for(lock, task.stop(), Duration(*ms), [] { return false; });
    if (task.stop().stop_requested())
      return Outcome::fail({error_kind::kActorError, "stopped while asleep", {}});
    return Outcome{};
  });
}

Outcome fail(TaskContext& task) {
  return with_valid_input(task, [&](JsonReader& in) {
    std::string message = "asked to fail";
    bool retryable = true;
    if (in.null_or_skip_null()) return Outcome::fail({error_kind::kActorError, message, {}});
    in.object([&](std::string_view name) {
      if (name == "message")
        message = in.string();
      else if (name == "retryable")
        retryable = in.boolean();
      else
        in.fail(Errc::invalid, "unknown field; there are message and retryable");
    });
    in.end();
    return Outcome::fail({error_kind::kActorError, message, {}}, retryable);
  });
}

Outcome crash(TaskContext&) {
  // A page that nobody may touch: a real fault on every machine, and not undefined behaviour that a
  // compiler may turn into something else.
  void* page = ::mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  *static_cast<volatile char*>(page) = 1;
  std::abort();  // not reached
}

}  // namespace

void add_builtin_actors(Registry& registry) {
  ActorOptions options;
  auto add = [&](const char* name, Outcome (*function)(TaskContext&), std::string description,
                 std::string schema = {}) {
    options.description = std::move(description);
    options.input_schema = std::move(schema);
    registry.add(name, std::function<Outcome(TaskContext&)>(function), options);
  };
  add("opscore.noop", noop, "Does nothing.");
  add("opscore.echo", echo, "The result is the input.");
  add("opscore.sleep", sleep, "Sleeps for `ms` milliseconds.", kSleepSchema);
  add("opscore.fail", fail, "Fails with `message`; `retryable` says whether to try again.",
      kFailSchema);
  add("opscore.crash", crash, "Crashes its worker process, to see what opscore does about it.");
}

}  // namespace opscore
