// Tables of tables: actors.NAME, queues.NAME, agent.providers.NAME.

#include "opscore/app/config_fields.h"
#include "opscore/model/names.h"
#include "opscore/net/url.h"

namespace opscore {
namespace {

std::optional<std::string> header_name_problem(std::string_view name) {
  return header_problem(name, "");
}

std::optional<std::string> variable_problem(std::string_view text) {
  bool fine = !text.empty() && !(text[0] >= '0' && text[0] <= '9');
  for (char c : text)
    fine = fine &&
           ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_');
  if (fine) return std::nullopt;
  return "must be the name of an environment variable, not the key itself";
}

#define SLOT(member) [](auto& section) -> Slot { return &section.member; }

// layout: table
const std::vector<Field<ActorConfig>>& actor_table() {
  static const std::vector<Field<ActorConfig>> table = {
      {.key = "kind",
       .slot = SLOT(kind),
       .fallback = "exec",
       .description =
           "`exec` runs a program: input on stdin, result on stdout. `http` posts the "
           "input to a URL: the answer is the result. `dramatiq` is an actor of Python's "
           "Dramatiq: its tasks are sent to its queue on RabbitMQ.",
       .choices = {"exec", "http", "dramatiq"}},
      {.key = "command",
       .slot = SLOT(command),
       .fallback = "",
       .description = "The program and its arguments, as an array; no shell in between. Required.",
       .only_of = "exec"},
      {.key = "cwd",
       .slot = SLOT(cwd),
       .fallback = "",
       .description = "The directory to run in. Unset: the one of the configuration file.",
       .is_path = true,
       .only_of = "exec"},
      {.key = "output",
       .slot = SLOT(output),
       .fallback = "",
       .description =
           "What stdout or the answer is: `text` becomes a JSON string, `json` must be one JSON "
           "value. Unset: `text`; of an `http` actor `json` when the answer's Content-Type says "
           "so.",
       .choices = {"text", "json"}},
      {.key = "env",
       .slot = SLOT(env),
       .fallback = "",
       .description = "Environment variables beside PATH, HOME, LANG and TZ, which are all that a "
                      "program gets otherwise: `env = {NAME = \"value\"}`.",
       .problem = variable_problem,
       .secret = Secret::yes,
       .only_of = "exec"},
      {.key = "url",
       .slot = SLOT(url),
       .fallback = "",
       .description = "Where inputs are posted to, `http://` or `https://`. Required.",
       .problem = http_url_problem,
       .secret = Secret::url,
       .only_of = "http"},
      {.key = "headers",
       .slot = SLOT(headers),
       .fallback = "",
       .description = "Headers to send: `headers = {Authorization = \"Bearer ${API_KEY}\"}`. "
                      "`${NAME}` is replaced by that variable of the environment or `.env`, which "
                      "must be set.",
       .problem = header_name_problem,
       .secret = Secret::yes,
       .only_of = "http"},
      {.key = "secret",
       .slot = SLOT(secret),
       .fallback = "",
       .description = "Signs each request (see the guide). Prefer `secret_env`.",
       .secret = Secret::yes,
       .only_of = "http"},
      {.key = "secret_env",
       .slot = SLOT(secret_env),
       .fallback = "",
       .description = "The environment variable (or .env entry) that holds the secret.",
       .problem = variable_problem,
       .only_of = "http"},
      {.key = "queue",
       .slot = SLOT(queue),
       .fallback = "default",
       .description = "The queue for tasks that name none.",
       .problem = queue_name_problem},
      {.key = "version",
       .slot = SLOT(version),
       .fallback = "",
       .description = "Shown in `GET /api/v1/actors`."},
      {.key = "description",
       .slot = SLOT(description),
       .fallback = "",
       .description = "What the actor does, for people and for agents that use it as a tool."},
      {.key = "aliases",
       .slot = SLOT(aliases),
       .fallback = "",
       .description = "Other names under which its tasks may be submitted.",
       .problem = name_problem},
      {.key = "input_schema",
       .slot = SLOT(input_schema),
       .fallback = "",
       .description =
           "JSON Schema (draft 7) that inputs must match: a table, or the name of a JSON "
           "file."},
      {.key = "options",
       .slot = SLOT(options),
       .fallback = "",
       .description = "What else its messages have in their options, as Dramatiq names it: "
                      "`options = {max_age = 3600000, store_results = true}`; a table, or the name "
                      "of a JSON file.",
       .only_of = "dramatiq"},
      {.key = "timeout",
       .slot = SLOT(timeout),
       .fallback = "",
       .description = "How long an attempt may take. Unset: 10m; of `dramatiq` what Python says.",
       .min = 1,
       .max = limits::kTimeoutMax.count()},
      {.key = "max_attempts",
       .slot = SLOT(max_attempts),
       .fallback = "",
       .description = "How often a task is tried; 0 is without limit. Unset: 5; of `dramatiq` what "
                      "Python says.",
       .max = limits::kAttemptsMax},
      {.key = "backoff.min",
       .slot = SLOT(backoff.min),
       .fallback = "1s",
       .description = "The pause before the second attempt.",
       .max = kCenturyMs},
      {.key = "backoff.max",
       .slot = SLOT(backoff.max),
       .fallback = "10m",
       .description = "The longest pause between attempts.",
       .max = kCenturyMs},
      {.key = "backoff.factor",
       .slot = SLOT(backoff.factor),
       .fallback = "2",
       .description = "What the pause is multiplied with after every attempt.",
       .min = 1,
       .max = limits::kBackoffFactorMax},
      {.key = "backoff.jitter_low",
       .slot = SLOT(backoff.jitter_low),
       .fallback = "0",
       .description = "The pause is multiplied with a random number from `jitter_low`...",
       .max = limits::kBackoffJitterMax},
      {.key = "backoff.jitter_high",
       .slot = SLOT(backoff.jitter_high),
       .fallback = "1",
       .description = "... to `jitter_high`.",
       .max = limits::kBackoffJitterMax},
      {.key = "concurrency",
       .slot = SLOT(concurrency),
       .fallback = "0",
       .description =
           "How many of its tasks one worker runs at a time; 0: as many as it has slots.",
       .max = 1024},
      {.key = "stop_grace",
       .slot = SLOT(stop_grace),
       .fallback = "5s",
       .description = "The time between SIGTERM and SIGKILL on a timeout or cancel.",
       .max = 600'000,
       .only_of = "exec"},
      {.key = "result_max",
       .slot = SLOT(result_max),
       .fallback = "1MiB",
       .description =
           "The largest output or answer; a program that writes more is killed, a transfer broken "
           "off, and the task fails.",
       .min = 1,
       .max = 1 << 20},
      {.key = "exit_codes",
       .slot = SLOT(exit_codes),
       .fallback = "{65 = \"fatal\", 75 = \"snooze 30s\"}",
       .description =
           "What exit codes other than 0 mean: `retry` (all that are not listed), `fatal` "
           "(not worth another attempt), or `snooze DURATION` (again later, uncharged). "
           "Added to the default.",
       .min = 1,
       .max = 255,
       .only_of = "exec"},
      {.key = "sandbox",
       .slot = SLOT(sandbox),
       .fallback = "",
       .description = "Runs it in a sandbox: `off`, `preferred` or `required`. Unset: "
                      "`sandbox.mode`. See docs/howto/sandbox.md.",
       .choices = {"off", "preferred", "required"},
       .only_of = "exec"},
      {.key = "network",
       .slot = SLOT(network),
       .fallback = "false",
       .description = "In a sandbox: whether it has the server's network, or none.",
       .only_of = "exec"},
      {.key = "read",
       .slot = SLOT(read),
       .fallback = "",
       .description = "In a sandbox: files and folders that it can read besides the system's "
                      "programs and its `cwd`.",
       .is_path = true,
       .only_of = "exec"},
      {.key = "write",
       .slot = SLOT(write),
       .fallback = "",
       .description = "In a sandbox: files and folders that it can read and write.",
       .is_path = true,
       .only_of = "exec"},
      {.key = "tmp_max",
       .slot = SLOT(tmp_max),
       .fallback = "64MiB",
       .description = "In a sandbox: the size of its private /tmp, which is in memory, and of its "
                      "/dev/shm.",
       .min = 1 << 16,
       .only_of = "exec"},
      {.key = "limits.memory",
       .slot = SLOT(limits.memory),
       .fallback = "0",
       .description = "Address space of each of its processes (RLIMIT_AS); in a sandbox with a "
                      "cgroup also the memory of the run as a whole; 0: no limit.",
       .only_of = "exec"},
      {.key = "limits.cpu",
       .slot = SLOT(limits.cpu),
       .fallback = "0s",
       .description = "CPU time of each of its processes (RLIMIT_CPU), whole seconds; 0: no limit.",
       .max = kYearsMs,
       .only_of = "exec"},
      {.key = "limits.open_files",
       .slot = SLOT(limits.open_files),
       .fallback = "0",
       .description =
           "Open files of each of its processes (RLIMIT_NOFILE); 0: as many as the server was "
           "started with.",
       .max = 1 << 20,
       .only_of = "exec"},
      {.key = "limits.file_size",
       .slot = SLOT(limits.file_size),
       .fallback = "0",
       .description = "The largest file it may write (RLIMIT_FSIZE); 0: no limit.",
       .only_of = "exec"},
      {.key = "limits.processes",
       .slot = SLOT(limits.processes),
       .fallback = "0",
       .description =
           "Processes of its user (RLIMIT_NPROC; does not bind root); in a sandbox those "
           "of the run instead. 0: no limit, but 1024 in a sandbox.",
       .max = 1 << 22,
       .only_of = "exec"},
      {.key = "limits.cpus",
       .slot = SLOT(limits.cpus),
       .fallback = "0",
       .description = "How many processors' time a run may use, in a sandbox with a cgroup; 0: no "
                      "limit.",
       .max = 1024,
       .only_of = "exec"},
  };
  return table;
}

const std::vector<Field<QueueConfig>>& queue_table() {
  static const std::vector<Field<QueueConfig>> table = {
      {.key = "max_pending",
       .slot = SLOT(max_pending),
       .fallback = "",
       .description = "How many of its tasks may wait to be started, scheduled ones included; "
                      "submits beyond that are refused with 429. Unset: without limit.",
       .max = limits::kLimitMax},
      {.key = "concurrency",
       .slot = SLOT(concurrency),
       .fallback = "",
       .description = "How many of its tasks one worker runs at a time. Unset: as many as it has "
                      "slots.",
       .min = 1,
       .max = limits::kLimitMax},
      {.key = "max_input",
       .slot = SLOT(max_input),
       .fallback = "0",
       .description = "The largest input of a task; larger ones are refused with 413. 0: 1MiB, "
                      "which is the most.",
       .max = limits::kPayloadBytes},
  };
  return table;
}

// layout: table
const std::vector<Field<AgentProviderConfig>>& provider_table() {
  static const std::vector<Field<AgentProviderConfig>> table = {
      {.key = "kind",
       .slot = SLOT(kind),
       .fallback = "",
       .description = "`openai` for any OpenAI-compatible server, `scripted` to replay a script. "
                      "Unset: what the built-in provider of that name is, else `openai`.",
       .choices = {"openai", "scripted"}},
      {.key = "base_url",
       .slot = SLOT(base_url),
       .fallback = "",
       .description =
           "Where the server is, up to and including `/v1`. Required unless the provider is "
           "built in.",
       .problem = http_url_problem},
      {.key = "api_key_env",
       .slot = SLOT(api_key_env),
       .fallback = "",
       .description = "The environment variable (or .env entry) that holds the key. Unset: none is "
                      "sent, except for built-in providers.",
       .problem = variable_problem},
      {.key = "model",
       .slot = SLOT(model),
       .fallback = "",
       .description = "The model for tasks that name none."},
      {.key = "script",
       .slot = SLOT(script),
       .fallback = "",
       .description = "Of a `scripted` provider: the JSON file with its turns.",
       .is_path = true},
  };
  return table;
}

#undef SLOT

}  // namespace

std::span<const Field<ActorConfig>> actor_fields() {
  return actor_table();
}
std::span<const Field<QueueConfig>> queue_fields() {
  return queue_table();
}
std::span<const Field<AgentProviderConfig>> provider_fields() {
  return provider_table();
}

}  // namespace opscore
