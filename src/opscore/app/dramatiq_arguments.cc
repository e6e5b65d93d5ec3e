#include "opscore/app/dramatiq_arguments.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <fstream>
#include <iterator>
#include <memory>
#include <system_error>

#include "opscore/app/command_tree.h"
#include "opscore/app/version.h"
#include "opscore/process/file_descriptor.h"

namespace opscore {
namespace {

using Words = std::vector<std::string>;

constexpr char kShutdownTimeoutMs[] = "600000";  // as Dramatiq has it

// A list as a setting takes it.
std::string joined(const Words& words) {
  return fmt::format("{}", fmt::join(words, ","));
}

class Arguments {
 public:
  Arguments(CLI::App& command, CommandLine& line) : command_(command), line_(line) {}

  void add() {
    command_.preparse_callback([this](size_t) { set_defaults(); });
    add_application();
    add_process();
    add_watch();
    refuse();
  }

 private:
  void set(const std::string& key, const std::string& text, const std::string& names = "") {
    line_.flags[key] = text;
    line_.flag_names[key] = names;
  }

  // Before its other arguments are looked at.
  void set_defaults() {
    set("python.kind", "dramatiq");
    set("worker.drain_grace", std::string(kShutdownTimeoutMs) + "ms");
    set("log.level", "info");
  }

  void list(const std::string& names, const std::string& key, const std::string& words) {
    command_
        .add_option_function<Words>(
            names, [this, key, names](const Words& given) { set(key, joined(given), names); },
            words)
        ->expected(0, 1000);
  }
  void text(const std::string& names, const std::string& key, const std::string& words,
            const std::string& unit = "") {
    command_.add_option_function<std::string>(
        names,
        [this, key, unit, names](const std::string& given) { set(key, given + unit, names); },
        words);
  }

  void add_application() {
    command_
        .add_option_function<Words>(
            "broker",
            [this](const Words& modules) { set("python.modules", joined(modules), "broker"); },
            "The module of the broker, or MODULE:NAME of a broker or of a function that sets one; "
            "then the modules with the actors")
        ->required()
        ->expected(1, 1000);
    text("-p,--processes", "python.processes", "How many interpreters; as many as CPUs");
    text("-t,--threads", "python.threads", "How many messages each runs at the same time; 8");
    list("-P,--path", "python.path", "Folders to import from; the working directory");
    list("-Q,--queues", "worker.queues", "The queues to serve; all");
  }

  void add_process() {
    command_.add_option("--config", line_.config_file,
                        "The configuration file of opscore, instead of ./opscore.toml");
    add_readiness_arguments(command_, line_.run);
    command_.add_flag(
        "--require-store", line_.run.require_store,
        "End when PostgreSQL does not answer at the start");
    command_.add_option("--pid-file", line_.dramatiq.pid_file, "Where to write the process id");
    text("--log-file", "log.file", "Where to log to; stderr");
    command_.add_flag_callback(
        "--skip-logging", [this] { set("python.take_logging", "false"); },
        "Leave the logging of Python to the application");
    text("--worker-shutdown-timeout", "worker.drain_grace",
         "How long what runs may go on after SIGTERM, in ms; 600000", "ms");
    command_.add_option("--worker-fork-timeout", line_.dramatiq.fork_timeout,
                        "Taken, and without effect: there are no fork functions to wait with");
    command_.add_flag_callback(
        "-v,--verbose", [this] { set("log.level", "debug"); },
        "Log what is only of interest to developers");
    command_.set_version_flag("--version", "opscore " + version());
  }

  void add_watch() {
    text("--watch", "python.watch",
         "A folder: load the application anew when a file in it changes");
    list("-i,--watch-include", "python.watch_include", "Patterns of files that count; **.py");
    list("-x,--watch-exclude", "python.watch_exclude", "Patterns of files that do not count");
  }

  void refuse() {
    const std::pair<const char*, const char*> refused[] = {
        {"-f,--fork-function",
         "opscore runs no fork functions: run what they do as a program of its own"},
        {"--watch-use-polling",
         "folders are watched by inotify; a folder of another machine cannot be watched"},
        {"--use-spawn", "interpreters are always started anew, so leave it out"}};
    for (const auto& [names, words] : refused) {
      command_
          .add_option_function<Words>(
              names,
              [names = std::string(names), words = std::string(words)](const Words&) {
                throw CLI::ValidationError(names, words);
              },
              fmt::format("Refused: {}", words))
          ->expected(0, 1);
    }
  }

  CLI::App& command_;
  CommandLine& line_;
};

std::optional<pid_t> pid_in(const std::string& text) {
  pid_t pid = 0;
  size_t end = text.find_last_not_of(" \t\r\n");
  if (end == std::string::npos) return std::nullopt;
  auto [rest, failed] = std::from_chars(text.data(), text.data() + end + 1, pid);
  if (failed != std::errc() || rest != text.data() + end + 1 || pid <= 0) return std::nullopt;
  return pid;
}

}  // namespace

void add_dramatiq_arguments(CLI::App& command, CommandLine& line) {
  // The callbacks of CLI11 outlive this call, and so must what they refer to.
  auto arguments = std::make_shared<Arguments>(command, line);
  arguments->add();
  command.final_callback([arguments] {});
}

PidFile::PidFile(std::string path) : path_(std::move(path)) {
  if (path_.empty()) return;
  if (std::ifstream old(path_); old) {
    const std::string text(std::istreambuf_iterator<char>(old), {});
    auto pid = pid_in(text);
    if (!pid)
      throw Error(
          Errc::conflict,
          fmt::format("the pid file {} holds no process id: remove it, or name another", path_));
    if (::kill(*pid, 0) == 0 || errno == EPERM)
      throw Error(Errc::conflict, fmt::format("the pid file {} belongs to process {}, which runs: "
                                              "stop it, or name another file",
                                              path_, *pid));
    ::unlink(path_.c_str());
  }
  FileDescriptor file(::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  const std::string words = fmt::format("{}", ::getpid());
  if (!file.is_open() ||
      ::write(file.get(), words.data(), words.size()) != static_cast<ssize_t>(words.size()))
    throw Error(Errc::conflict, fmt::format("write the pid file {}: {}", path_,
                                            std::generic_category().message(errno)));
}

PidFile::~PidFile() {
  if (!path_.empty()) ::unlink(path_.c_str());
}

}  // namespace opscore
