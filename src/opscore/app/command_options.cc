#include "opscore/app/command_options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <sstream>

#include "opscore/app/cli/exit_codes.h"
#include "opscore/app/command_tree.h"
#include "opscore/app/config_fields.h"
#include "opscore/app/dramatiq_arguments.h"
#include "opscore/app/version.h"

namespace opscore {
namespace {

constexpr char kInputHelp[] =
    "The input: JSON, @FILE, or - for stdin. What is read from a file or stdin and is not JSON is "
    "sent as a JSON string, so --input @README.md works";

// Builds the commands; parsing fills `line`, which must outlive the result.
class CommandTree {
 public:
  explicit CommandTree(CommandLine& line) : line_(line) {
    root_.require_subcommand(1);
    root_.set_help_flag("-h,--help", "Print this help");
    root_.set_version_flag("--version", "opscore " + version());
    root_.footer(
        "Example:\n  opscore up\n  opscore submit opscore.echo --input '{\"hello\": 1}' "
        "--wait\n\nopscore COMMAND --help says more.");
    add_roles();
    add_dramatiq_arguments(*add(root_, "dramatiq",
                                "Run an application of Dramatiq in place of its own worker: takes "
                                "the arguments of the dramatiq command",
                                "opscore dramatiq app.broker:broker app.tasks -p 4 -t 8"),
                           line_);
    add_submit();
    add_tasks();
    add_queues();
    add_jobs();
    add_fleet();
    add_doctor();
    add_broker();
    add_config();
    add_others();
  }

  CLI::App& root() { return root_; }

 private:
  CLI::App* add(CLI::App& parent, const std::string& name, const std::string& description,
                const std::string& example) {
    CLI::App* command = parent.add_subcommand(name, description);
    command->set_help_flag("-h,--help", "Print this help");
    command->footer("Example:\n  " + example);
    std::string path = (&parent == &root_ ? "" : parent.get_name() + " ") + name;
    // The innermost command runs last, and that is the one that counts.
    command->parse_complete_callback([this, path] {
      if (line_.command.size() <= path.size()) line_.command = path;
    });
    return command;
  }

  void add_sources(CLI::App* command) {
    command->add_option("--config", line_.config_file,
                        "The configuration file, instead of ./opscore.toml");
    command->add_flag("--no-dotenv", line_.no_dotenv, "Do not read ./.env");
  }

  void add_setting(CLI::App* command, const Field<Config>& field) {
    Config config;
    std::string key = field.key;
    // The reference has Markdown; a terminal has not.
    std::string words = field.description;
    std::erase(words, '`');
    if (std::holds_alternative<bool*>(field.slot(config)))
      command->add_flag_callback(field.flag, [this, key] { line_.flags[key] = "true"; }, words);
    else if (std::holds_alternative<std::vector<std::string>*>(field.slot(config)))
      command
          ->add_option_function<std::vector<std::string>>(
              field.flag,
              [this, key](const std::vector<std::string>& texts) {
                line_.flags[key] = fmt::format("{}", fmt::join(texts, ","));
              },
              words + " May be repeated")
          ->type_size(1)
          ->allow_extra_args(false)
          ->expected(1, 1000);
    else
      command->add_option_function<std::string>(
          field.flag, [this, key](const std::string& text) { line_.flags[key] = text; }, words);
  }

  // Flags for the settings of these sections, "store." or a whole key.
  void add_settings(CLI::App* command, std::initializer_list<std::string_view> sections) {
    for (const auto& field : config_fields())
      for (std::string_view section : sections)
        if (*field.flag != '\0' && std::string_view(field.key).starts_with(section))
          add_setting(command, field);
    add_sources(command);
  }

  CLI::App* add_client(CLI::App& parent, const std::string& name, const std::string& description,
                       const std::string& example) {
    CLI::App* command = add(parent, name, description, example);
    add_settings(command, {"client.url"});
    command->add_flag("--json", line_.json, "Print the server's answer as it is");
    return command;
  }

  void add_roles() {
    struct Role {
      const char *name, *description, *example;
      std::initializer_list<std::string_view> sections;
    };
    const Role roles[] = {{"up",
                           "Run everything in one process, on a SQLite file or PostgreSQL",
                           "opscore up --port 8080",
                           {"server.", "store.", "worker.", "python.", "broker.rabbitmq.", "log."}},
                          {"api",
                           "Run the API only, on PostgreSQL",
                           "DATABASE_URL=postgresql://localhost/opscore opscore api",
                           {"server.", "log."}},
                          {"worker",
                           "Run a worker only, on PostgreSQL",
                           "DATABASE_URL=postgresql://localhost/opscore opscore worker --slots 16",
                           {"worker.", "python.", "broker.rabbitmq.", "probes.", "log."}},
                          {"maintenance",
                           "Run the maintenance loops only, on PostgreSQL",
                           "DATABASE_URL=postgresql://localhost/opscore opscore maintenance",
                           {"probes.", "log."}}};
    for (const Role& role : roles) {
      CLI::App* command = add(root_, role.name, role.description, role.example);
      add_settings(command, role.sections);
      command->add_flag_callback(
          "--no-supervise", [this] { line_.run.supervise = false; },
          "Without the supervisor that restarts the process after a crash; for containers");
      command->add_flag("--require-store", line_.run.require_store,
                        "End when PostgreSQL does not answer at the start, instead of waiting "
                        "for it");
      const std::string_view name = role.name;
      if (name == "up" || name == "worker") add_readiness_arguments(*command, line_.run);
      if (name == "worker") {
        command->add_flag("--check", line_.run.check,
                          "Start, show that a task gets through store, broker, slot and back "
                          "without taking any from a queue, and end: 0, or 1 with the reason");
        command
            ->add_option("--exclusive", line_.run.exclusive,
                         "Do not start when another live worker serves this queue. May be repeated")
            ->type_size(1)
            ->allow_extra_args(false)
            ->expected(1, 1000);
      }
    }
  }

  void add_submit() {
    SubmitOptions& submit = line_.submit;
    CLI::App* command = add_client(root_, "submit", "Submit a task",
                                   "opscore submit shell.word_count --input @README.md --wait");
    command->add_option("type", submit.type, "The type of the task: which actor runs it")
        ->required();
    command->add_option("--input", submit.input, kInputHelp);
    command->add_option("--queue", submit.queue, "The queue, instead of the actor's own");
    command->add_option("--priority", submit.priority, "-100 to 100, higher first");
    command->add_option("--delay", submit.delay, "Run it later: 90s, 10m, 2h");
    command->add_option("--run-at", submit.run_at, "Run it then: 2030-01-31T12:00:00Z")
        ->excludes("--delay");
    command->add_option("--max-attempts", submit.max_attempts,
                        "How often it is tried; 0: without limit");
    command->add_option("--timeout", submit.timeout, "How long one attempt may take: 30s");
    command->add_option("--deadline", submit.deadline,
                        "When it must be done: a time, or a duration from now");
    command->add_option("--idempotency-key", submit.idempotency_key,
                        "The same key again answers the first task");
    command->add_option("--task-id", submit.task_id, "An id of your own");
    command->add_option("--label", submit.labels, "NAME=VALUE; may be repeated")
        ->type_size(1)
        ->allow_extra_args(false)
        ->expected(1, 1000);
    command->add_option("--webhook", submit.webhook,
                        "A URL to call when the task has ended, with its JSON");
    command->add_option("--name", submit.name, "A name for people");
    add_wait(command);
  }

  void add_wait(CLI::App* command) {
    command
        ->add_flag("--wait{forever}", line_.wait,
                   "Wait until the task is done and print its result; --wait=30s: at most that "
                   "long. A failed task is exit code 1")
        ->type_name("[=DURATION]");
  }

  CLI::Option* add_ids(CLI::App* command, int most, const char* words = nullptr) {
    const char* of_tasks = most == 1 ? "The task" : "The tasks";
    return command->add_option("id", line_.ids, words ? words : of_tasks)
        ->required()
        ->expected(1, most);
  }

  void add_tasks() {
    CLI::App* tasks =
        add_client(root_, "tasks", "List, look at and change tasks", "opscore tasks list");
    tasks->require_subcommand(0, 1);
    add_list(*tasks);
    add_ids(add_client(*tasks, "show",
                       "Show a task with its attempts. Reads the store itself "
                       "when no server answers",
                       "opscore tasks show task_0190b5a0"),
            1);
    CLI::App* watch = add_client(*tasks, "watch",
                                 "Follow a task until it is done; without one, watch how fast "
                                 "tasks of each type come and go",
                                 "opscore tasks watch task_0190b5a0");
    CLI::Option* id = watch->add_option("id", line_.ids, "The task")->expected(0, 1);
    for (CLI::Option* option : add_watch(watch)) option->excludes(id);
    add_change(*tasks, "cancel", "Cancel tasks, by id or by filter; what runs is stopped",
               "opscore tasks cancel --type mail.send --status pending --wait");
    add_change(*tasks, "retry", "Run finished tasks again, by id or by filter",
               "opscore tasks retry --status failed --since 1h --dry-run")
        ->add_option("--input", line_.input,
                     std::string(kInputHelp) + ". Replaces the old one; for tasks that are named");
    add_change(*tasks, "delete", "Delete tasks that are not running, by id or by filter",
               "opscore tasks delete --status completed --before 24h --yes --wait");
    CLI::App* exported = add_client(*tasks, "export", "Write tasks as JSON, one a line",
                                    "opscore tasks export --status failed -o failed.ndjson");
    add_filter(exported);
    exported->add_option("-o,--output", line_.output, "The file; - is stdout")
        ->capture_default_str();
    exported->add_flag("--dry-run", line_.dry_run, "Only say how many there are");
  }

  CLI::App* add_change(CLI::App& tasks, const std::string& name, const std::string& description,
                       const std::string& example) {
    CLI::App* command = add_client(tasks, name, description, example);
    CLI::Option* ids = add_ids(command, 1000)->required(false);
    add_filter(command);
    command->add_flag("--all", line_.all, "Every task that can be; instead of a filter");
    command->add_flag("--dry-run", line_.dry_run,
                      "Only say how many tasks the filter matches: exactly, or at least");
    command->add_flag("--yes", line_.yes, "Do not ask, on a terminal");
    command
        ->add_flag("--wait{forever}", line_.wait,
                   "Follow the job that does it until it has ended; --wait=30s: at most that long")
        ->type_name("[=DURATION]");
    for (const char* other : {"--status", "--type", "--queue", "--label", "--since", "--before",
                              "--all", "--dry-run", "--wait"})
      ids->excludes(other);
    return command;
  }

  std::vector<CLI::Option*> add_watch(CLI::App* command) {
    return {
        command->add_option("--interval", line_.watch.interval, "How often to look: 100ms to 1h")
            ->capture_default_str(),
        command->add_flag("--once", line_.watch.once,
                          "Look twice, an interval apart, print what was seen, and end")};
  }

  void add_filter(CLI::App* command) {
    ListOptions& list = line_.list;
    command
        ->add_option("--status", list.statuses,
                     "scheduled, waiting, pending, running, completed, failed, cancelled; several "
                     "with commas")
        ->delimiter(',')
        ->allow_extra_args(false)
        ->expected(1, 1000);
    command->add_option("--type", list.type, "Of this type only");
    command->add_option("--queue", list.queue, "Of this queue only");
    command->add_option("--label", list.labels, "NAME=VALUE; may be repeated")
        ->type_size(1)
        ->allow_extra_args(false)
        ->expected(1, 1000);
    command->add_option("--since", list.since, "Created since: a time, or how long ago (1h)");
    command->add_option("--before", list.before, "Created before: a time, or how long ago");
  }

  void add_list(CLI::App& tasks) {
    ListOptions& list = line_.list;
    CLI::App* command = add_client(tasks, "list", "List tasks, newest first",
                                   "opscore tasks list --status failed,cancelled --since 1h");
    add_filter(command);
    command->add_option("--limit", list.limit, "How many")
        ->check(CLI::Range(1, 1000))
        ->capture_default_str();
    command->add_option("--cursor", list.cursor, "Where the page before ended");
  }

  void add_queues() {
    CLI::App* queues =
        add_client(root_, "queues", "List and control queues", "opscore queues list");
    queues->require_subcommand(0, 1);
    add_client(*queues, "list", "List queues with their depth", "opscore queues list");
    add_client(*queues, "show", "Show a queue with its limits and where each is from",
               "opscore queues show mail")
        ->add_option("queue", line_.queue, "The queue")
        ->required();
    add_set_queue(*queues);
    add_watch(add_client(*queues, "watch",
                         "Watch how deep queues are and how fast they move: live on a terminal, "
                         "else a line for each look",
                         "opscore queues watch --interval 2s"));
    struct Verb {
      const char *name, *description;
    };
    for (auto [name, description] :
         {Verb{"pause", "Stop taking tasks from a queue; what runs goes on"},
          Verb{"resume", "Take tasks from a queue again"},
          Verb{"purge", "Delete the tasks of a queue that are not running or done"}}) {
      CLI::App* command =
          add_client(*queues, name, description, fmt::format("opscore queues {} mail", name));
      command->add_option("queue", line_.queue, "The queue")->required();
      if (std::string_view(name) == "purge")
        command->add_flag("--yes", line_.yes, "Do not ask, on a terminal");
    }
  }

  void add_jobs() {
    CLI::App* jobs = add_client(root_, "jobs", "List and control bulk jobs", "opscore jobs list");
    jobs->require_subcommand(0, 1);
    add_client(*jobs, "list", "List bulk jobs, newest first", "opscore jobs list");
    struct Verb {
      const char *name, *description;
    };
    for (auto [name, description] :
         {Verb{"show", "Show a bulk job"}, Verb{"watch", "Follow a bulk job until it has ended"},
          Verb{"stop", "Stop a bulk job; what it has done stays done"}})
      add_client(*jobs, name, description, fmt::format("opscore jobs {} job_1", name))
          ->add_option("job", line_.ids, "The job")
          ->required()
          ->expected(1, 1);
  }

  void add_set_queue(CLI::App& queues) {
    LimitOptions& limits = line_.limits;
    CLI::App* set = add_client(queues, "set",
                               "Change limits of a queue while everything runs. A number, none to "
                               "take a limit away, default for what the configuration says",
                               "opscore queues set mail --max-pending 10000 --concurrency 4");
    set->add_option("queue", line_.queue, "The queue")->required();
    set->add_option("--max-pending", limits.max_pending,
                    "How many of its tasks may wait to be started; more are refused");
    set->add_option("--concurrency", limits.concurrency,
                    "How many of its tasks one worker runs at once");
    set->add_option("--max-input", limits.max_input,
                    "The largest input of a task, in bytes or as 64KiB");
  }

  void add_fleet() {
    CLI::App* workers =
        add_client(root_, "workers", "List and compare workers", "opscore workers list");
    CLI::App* wait = add_client(*workers, "wait", "Wait until workers are what is asked for",
                                "opscore workers wait --ready --timeout 1m");
    wait->add_flag("--ready", line_.ready, "One consumes, and its canary has got through")
        ->required();
    wait->add_option("worker", line_.ids, "Which: a worker's name, or host:pid; any")
        ->expected(0, 1);
    wait->add_option("--timeout", line_.wait, "How long at most; 30s");
    workers->require_subcommand(0, 1);
    CLI::App* list = add_client(*workers, "list", "List workers with what they run",
                                "opscore workers list --ended-within 1h");
    list->add_option("--ended-within", line_.ended_within, "Also those that ended in this time");
    add_ids(add_client(*workers, "show",
                       "Show a worker with where it runs: how it was started, by whom, with which "
                       "files, signals, limits, environment, services and packages",
                       "opscore workers show worker-12"),
            1, "The worker");
    add_ids(add_client(*workers, "diff",
                       "Show what differs between the places where two workers run, most "
                       "suspicious first",
                       "opscore workers diff worker-12 worker-13"),
            2, "The two workers")
        ->expected(2);
    CLI::App* actors = add_client(root_, "actors", "List what workers can run", "opscore actors");
    actors->require_subcommand(0, 1);
    add_client(*actors, "list", "List what workers can run", "opscore actors list");
    CLI::App* set = add_client(*actors, "set", "Change a limit of an actor while everything runs",
                               "opscore actors set report.build --concurrency 2");
    set->add_option("type", line_.type, "The type of its tasks")->required();
    set->add_option("--concurrency", line_.limits.concurrency,
                    "How many of its tasks one worker runs at once: a number, none, or default "
                    "for what the configuration says")
        ->required();
    for (const char* verb : {"drain", "stop"})
      add_client(*workers, verb,
                 std::string_view(verb) == "drain"
                     ? "Have a worker end, wherever it runs: it claims no more, and what runs may "
                       "end within worker.drain_grace"
                     : "Have a worker end without waiting for what runs: that is stopped, and "
                       "handed back uncharged",
                 fmt::format("opscore workers {} worker-7", verb))
          ->add_option("worker", line_.worker, "The worker, as workers list names it")
          ->required();
    add_explain();
  }

  void add_explain() {
    CLI::App* explain = add_client(
        root_, "explain",
        "Say why a task is where it is, or whether a queue or a worker works, and what to do. "
        "Reads the store itself when no server answers",
        "opscore explain task_0190b5a0");
    auto* task = explain->add_option("task", line_.ids, "The task")->expected(0, 1);
    auto* queue = explain->add_option("--queue", line_.queue, "A queue instead");
    auto* worker = explain->add_option("--worker", line_.worker, "A worker instead: worker-7");
    queue->excludes(task)->excludes(worker);
    worker->excludes(task);
    explain->callback([this] {
      if (line_.ids.empty() && line_.queue.empty() && line_.worker.empty())
        throw CLI::RequiredError("a task, --queue or --worker");
    });
  }

  void add_doctor() {
    CLI::App* doctor =
        add(root_, "doctor",
            "Look for what is wrong with this installation: configuration, environment, store, "
            "workers, RabbitMQ and model providers. Reads only, and needs no server. Exits with 0 "
            "when nothing is wrong, 1 for warnings, 2 for errors",
            "opscore doctor");
    add_settings(doctor, {"client.url", "store."});
    doctor->add_flag("--json", line_.json, "Print JSON");
    doctor->add_flag("--online", line_.doctor.online,
                     "Ask each model provider, too: one call of one token");
    doctor
        ->add_option("--unacked-older-than", line_.doctor.unacked_older_than,
                     "Report messages that somebody holds on RabbitMQ for longer than this")
        ->capture_default_str();
  }

  void add_broker() {
    CLI::App* broker = add(root_, "broker", "Look into the queues of Dramatiq on RabbitMQ",
                           "opscore broker inspect default.XQ");
    broker->require_subcommand(1);
    struct Verb {
      const char *name, *description, *example, *queue;
    };
    for (const Verb& verb :
         {Verb{"inspect", "Show what is on a queue without consuming it, and why messages died",
               "opscore broker inspect default.XQ --actor send_email --json",
               "The queue: Q with its Q.DQ and Q.XQ, or one of these alone"},
          Verb{"redrive", "Send dead messages back to their queue, each confirmed first",
               "opscore broker redrive default --actor send_email --older-than 1h --dry-run",
               "The queue; what is sent back is on its Q.XQ"},
          Verb{"purge", "Delete messages of a queue for good",
               "opscore broker purge default.XQ --reason 'not a Dramatiq message' --yes",
               "The queue, exactly: Q, Q.DQ or Q.XQ"}}) {
      CLI::App* command = add(*broker, verb.name, verb.description, verb.example);
      add_sources(command);
      command->add_flag("--json", line_.json, "Print JSON");
      command->add_option("queue", line_.queue, verb.queue)->required();
      add_message_filter(command);
      if (std::string_view(verb.name) == "inspect") continue;
      command->add_flag("--dry-run", line_.dry_run, "Only say how many there are");
      command->add_flag("--yes", line_.yes, "Do not ask, on a terminal");
    }
    CLI::App* test =
        add_client(root_, "send-test", "Send one real message and follow it to its end, hop by hop",
                   "opscore send-test --queue default --actor opscore.echo");
    test->add_option("--queue", line_.queue, "The queue; else default, or the actor's own");
    test->add_option("--actor", line_.test.actor,
                     "Who is to run it. One of kind dramatiq gets a task that opscore hands over; "
                     "any other a message as a Python producer sends it, to a queue that opscore "
                     "adopts")
        ->capture_default_str();
    test->add_option("--input", line_.input,
                     std::string(kInputHelp) +
                         ". An object is keyword arguments, an array "
                         "arguments");
    test->add_option("--wait", line_.test.wait, "How long to follow it")->capture_default_str();
  }

  void add_message_filter(CLI::App* command) {
    BrokerOptions& broker = line_.broker;
    command->add_option("--actor", broker.actor, "For this actor only");
    command->add_option("--reason", broker.reason, "Dead for a reason that has this in it");
    command->add_option("--older-than", broker.older_than,
                        "Dead, or made, for longer than this: 90s, 10m, 2h");
    command->add_option("--limit", broker.limit, "How many that match")
        ->check(CLI::Range(1, 1'000'000))
        ->capture_default_str();
  }

  void add_config() {
    CLI::App* config = add(root_, "config", "Look at the configuration", "opscore config show");
    config->require_subcommand(1);
    struct Verb {
      const char *name, *description;
    };
    for (auto [name, description] :
         {Verb{"show", "Print every setting with its value and origin; secrets are masked"},
          Verb{"check", "Check the configuration and what it names: programs, files"}}) {
      CLI::App* command = add(*config, name, description, fmt::format("opscore config {}", name));
      add_settings(command, {"server.", "store.", "worker.", "log.", "client."});
      command->add_flag("--json", line_.json, "Print JSON");
    }
    add_client(*config, "reload",
               "Have the server read its configuration again: actors, limits, retention, agents "
               "and log level change without a restart",
               "opscore config reload");
  }

  void add_others() {
    add_client(root_, "report",
               "Write one archive for a report of a bug: versions, settings, workers, queues, what "
               "is stuck and why, what failed last, logs; without payloads and secrets",
               "opscore report")
        ->add_option("file", line_.file, "The archive; opscore-report-TIME.tar.gz");
    add_migrate();
    add_backup("backup", "Write a checked copy of the data file, also while `opscore up` runs",
               "opscore backup /backup/opscore.backup");
    add_backup("restore", "Put a backup in the place of the data file, which is kept aside",
               "opscore restore /backup/opscore.backup");
    add_bench();
    CLI::App* version =
        add(root_, "version", "Print the version and how it was built", "opscore version --json");
    version->add_flag("--json", line_.json, "Print JSON");
  }

  void add_migrate() {
    MigrateOptions& migrate = line_.migrate;
    CLI::App* command =
        add(root_, "migrate", "Bring the store's schema up to date, or say what that takes",
            "opscore migrate --dry-run");
    add_settings(command, {"store.", "log."});
    command
        ->add_option("verb", migrate.verb,
                     "up: apply what is pending, which is the default; status: only say what is")
        ->check(CLI::IsMember({"up", "status"}));
    command->add_flag("--dry-run", migrate.dry_run, "Print the SQL of what is pending instead");
    command->add_flag("--json", migrate.json, "Print JSON");
  }

  void add_backup(const std::string& name, const std::string& description,
                  const std::string& example) {
    CLI::App* command = add(root_, name, description, example);
    add_settings(command, {"store."});
    command->add_option("file", line_.file, "The backup")->required();
    command->add_flag("--json", line_.json, "Print JSON");
  }

  void add_bench() {
    BenchOptions& bench = line_.bench;
    CLI::App* command = add(root_, "bench", "Measure this machine, or a running server",
                            "opscore bench --suite all --tasks 100000 --json");
    command->add_option("--suite", bench.suite, "One suite, or all of them but growth")
        ->check(CLI::IsMember({"drain", "echo", "python", "bulk", "submit", "latency", "waiting",
                               "idle", "start", "growth", "all"}))
        ->capture_default_str();
    command->add_option("--tasks", bench.tasks, "How many tasks a run has")
        ->check(CLI::Range(int64_t{1}, int64_t{100'000'000}))
        ->capture_default_str();
    command->add_option("--payload", bench.payload_bytes, "Bytes of input a task has")
        ->check(CLI::Range(int64_t{2}, int64_t{1} << 20))
        ->capture_default_str();
    command->add_option("--runs", bench.runs, "Runs of which the median is taken")
        ->check(CLI::Range(1, 1000))
        ->capture_default_str();
    const std::map<std::string, BenchOptions::Mode> modes = {
        {"embedded", BenchOptions::Mode::embedded}, {"server", BenchOptions::Mode::server}};
    command->add_option("--mode", bench.mode, "embedded: a store of its own; server: over HTTP")
        ->transform(CLI::CheckedTransformer(modes))
        ->option_text("embedded|server");
    command->add_option("--url", bench.url, "The server, with --mode server");
    command->add_flag("--json", bench.json, "Print JSON");
    command->add_option_function<std::string>(
        "--data", [this](const std::string& text) { line_.flags["store.path"] = text; },
        "Where to put the embedded store; it must not exist");
    add_sources(command);
  }

  CommandLine& line_;
  CLI::App root_{"A durable task engine: submit, execute, explain.", "opscore"};
};

// The command that was parsed last, and its name with those above it.
std::pair<CLI::App*, std::string> innermost(CLI::App& root) {
  std::pair<CLI::App*, std::string> found{&root, "opscore"};
  while (!found.first->get_subcommands().empty()) {
    found.first = found.first->get_subcommands().back();
    found.second += " " + found.first->get_name();
  }
  return found;
}

// CLI11 prints them backwards, and does not know that a word was meant as a command.
std::string words_about_extras(CLI::App& root, const std::vector<std::string>& args) {
  const std::vector<std::string> left = root.remaining(true);
  std::vector<std::string> extras;
  for (const std::string& arg : args)
    if (std::find(left.begin(), left.end(), arg) != left.end()) extras.push_back(arg);
  auto [command, path] = innermost(root);
  std::vector<std::string> known;
  for (CLI::App* sub : command->get_subcommands([](CLI::App*) { return true; }))
    known.push_back(sub->get_name());
  if (known.empty() || extras.empty() || extras[0].starts_with('-'))
    return fmt::format("not expected: {}", fmt::join(extras, " "));
  return fmt::format("there is no '{} {}'; there is: {}", path, extras[0], fmt::join(known, ", "));
}

EarlyExit usage_error(CLI::App& root, const std::string& words) {
  return {
      static_cast<int>(CommandExit::usage), "",
      fmt::format("opscore: command line: {}\n  see: {} --help\n", words, innermost(root).second)};
}

}  // namespace

std::expected<CommandLine, EarlyExit> parse_command_line(std::vector<std::string> args) {
  CommandLine line;
  CommandTree tree(line);
  if (args.empty()) return std::unexpected(EarlyExit{2, "", tree.root().help()});
  const std::vector<std::string> typed = args;
  std::reverse(args.begin(), args.end());
  try {
    tree.root().parse(args);
    for (const char* family : {"tasks", "queues", "jobs", "workers", "actors"})
      if (line.command == family) line.command += " list";
  } catch (const CLI::ParseError& error) {
    std::ostringstream out, err;
    int code = tree.root().exit(error, out, err);
    if (code == 0) return std::unexpected(EarlyExit{0, out.str(), ""});
    const bool extras = !tree.root().remaining(true).empty();
    return std::unexpected(
        usage_error(tree.root(), extras ? words_about_extras(tree.root(), typed) : error.what()));
  }
  return line;
}

void look_at_commands(const std::function<void(CLI::App& root)>& look) {
  CommandLine line;
  CommandTree tree(line);
  look(tree.root());
}

}  // namespace opscore
