#include "opscore/actor/exec/exec_actor.h"

#include <fmt/format.h>

#include <csignal>
#include <cstdlib>

#include "opscore/actor/exec/exec_outcome.h"
#include "opscore/actor/exec/stderr_lines.h"
#include "opscore/base/json.h"
#include "opscore/model/decide.h"
#include "opscore/process/run_program.h"

namespace opscore {
namespace {

constexpr char kTaskId[] = "OPSCORE_TASK_ID";

[[noreturn]] void refuse(const std::string& problem) {
  throw Error(Errc::invalid, problem);
}

bool has_nul(const std::string& text) {
  return text.find('\0') != std::string::npos;
}

void check_options(const ExecOptions& options) {
  if (options.command.empty()) refuse("an exec actor needs a command");
  for (const std::string& word : options.command)
    if (has_nul(word)) refuse("the command holds a NUL character");
  if (has_nul(options.cwd)) refuse("cwd holds a NUL character");
  for (const auto& [name, value] : options.env) {
    if (name.empty() || name.find('=') != std::string::npos || has_nul(name))
      refuse(fmt::format("'{}' is no name for an environment variable", name));
    if (has_nul(value)) refuse(fmt::format("the value of {} holds a NUL character", name));
    if (name == kTaskId || name == Reaper::kMark) refuse(fmt::format("{} is set by opscore", name));
  }
}

// What every run gets: never the server's whole environment, which holds keys and passwords.
std::map<std::string, std::string> environment(const ExecOptions& options) {
  std::map<std::string, std::string> env = options.env;
  for (const char* name : {"HOME", "LANG", "TZ"})
    if (const char* value = std::getenv(name)) env.emplace(name, value);
  env.emplace("PATH", search_path());
  return env;
}

class ExecActor final : public Actor {
 public:
  ExecActor(Reaper& reaper, ExecOptions options) : reaper_(reaper), options_(std::move(options)) {
    check_options(options_);
    auto env = environment(options_);
    auto program = find_program(options_.command[0], options_.cwd, env["PATH"]);
    if (!program) throw program.error();
    child_.program = *program;
    child_.argv = options_.command;
    child_.cwd = options_.cwd;
    child_.limits = options_.limits;
    if (options_.sandbox) places_ = real_places(child_, options_.sandbox->rules);
    for (const auto& [name, value] : env) child_.env.push_back(fmt::format("{}={}", name, value));
  }

  Outcome run(TaskContext& task) override {
    StderrLines lines([&](const std::string& line) { task.log(LogLevel::info, line); },
                      [&](std::string json) { task.progress(std::move(json)); });
    ProgramRun run;
    // For every run anew: files that are hidden come and go.
    run.child = options_.sandbox ? in_sandbox() : child_;
    std::unique_ptr<Cgroup> group = join_group(run.child);
    if (!options_.unsandboxed.empty())
      task.notice({event_kind::kNotSandboxed,
                   fmt::format(R"({{"actor":{},"reason":{}}})", quote_json(task.type()),
                               quote_json(options_.unsandboxed))});
    run.child.env.push_back(fmt::format("{}={}", kTaskId, task.id()));
    run.child.input = task.input();
    run.mark = fmt::format("{}#{}", task.id(), task.attempt());
    run.output_bytes_max = options_.result_bytes_max;
    run.on_err = [&](std::string_view bytes) { lines.feed(bytes); };
    run.stop = task.stop();
    run.deadline = task.deadline();
    run.stop_grace = options_.stop_grace;
    ProgramEnd end = run_program(reaper_, run);
    if (options_.sandbox) end.status = as_without_sandbox(end.status);
    lines.finish();
    return decide_exec(options_, end, lines.tail());
  }

 private:
  ChildOptions in_sandbox() const {
    const SandboxRules& rules = options_.sandbox->rules;
    for (const auto& [path, place] : real_places(child_, rules))
      if (place != places_.at(path))
        throw Error(Errc::unavailable,
                    fmt::format("run '{}' in its sandbox: {} is {} now and was {} when the server "
                                "started; restart the server if that is meant",
                                child_.program, path, place, places_.at(path)));
    return sandboxed(options_.sandbox->bwrap, child_, rules);
  }

  std::unique_ptr<Cgroup> join_group(ChildOptions& child) const {
    if (!options_.sandbox || !options_.sandbox->groups) return nullptr;
    auto group = options_.sandbox->groups->make(options_.sandbox->limits);
    child.groups = group->entrances();
    return group;
  }

  // A sandbox says of a program that died of signal n that its exit code was 128 + n.
  ExitStatus as_without_sandbox(ExitStatus status) const {
    constexpr int kSignalled = 128;
    bool signalled = status.signal == 0 && status.code > kSignalled &&
                     status.code < kSignalled + NSIG && !options_.exit_codes.contains(status.code);
    return signalled ? ExitStatus{0, status.code - kSignalled, false} : status;
  }

  Reaper& reaper_;
  const ExecOptions options_;
  ChildOptions child_;                         // all but what belongs to one task
  std::map<std::string, std::string> places_;  // of what its sandbox shows, at start
};

}  // namespace

std::unique_ptr<Actor> make_exec_actor(Reaper& reaper, ExecOptions options) {
  return std::make_unique<ExecActor>(reaper, std::move(options));
}

}  // namespace opscore
