#include "opscore/app/config_fields.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include "opscore/broker/rabbitmq/amqp_url.h"
#include "opscore/model/names.h"
#include "opscore/net/ip_address.h"
#include "opscore/net/url.h"

namespace opscore {
namespace {

std::optional<std::string> address_problem(std::string_view text) {
  in6_addr address;
  std::string host(text);
  if (host == "localhost" || inet_pton(AF_INET, host.c_str(), &address) == 1 ||
      inet_pton(AF_INET6, host.c_str(), &address) == 1)
    return std::nullopt;
  return "must be an IP address or localhost, without a port (0.0.0.0 is every IPv4 address)";
}

std::optional<std::string> served_queue_problem(std::string_view text) {
  return text == "*" ? std::nullopt : queue_name_problem(text);
}

std::optional<std::string> range_problem(std::string_view text) {
  if (IpRange::parse(text)) return std::nullopt;
  return "must be an IP address or a range such as 10.0.0.0/8 or fd00::/8";
}

std::optional<std::string> host_problem(std::string_view text) {
  if (!text.empty() && text.find_first_of("/: \t@,") == text.npos) return std::nullopt;
  if (in6_addr v6; inet_pton(AF_INET6, std::string(text).c_str(), &v6) == 1) return std::nullopt;
  return "must be a host name or IP address, without scheme and port";
}

std::optional<std::string> amqp_url_problem(std::string_view text) {
  auto urls = parse_amqp_urls(text);
  return urls ? std::nullopt : std::optional(urls.error().message());
}

std::optional<std::string> module_problem(std::string_view text) {
  bool fine = !text.empty() && !text.starts_with('.') && !text.ends_with('.');
  for (char c : text)
    fine = fine && (static_cast<unsigned char>(c) >= 0x80 || std::isalnum(c) || c == '_' ||
                    c == '.' || c == ':');
  if (fine) return std::nullopt;
  return "must be the name of a module as `import` takes it, such as app.tasks, not a file";
}

// PostgreSQL cuts longer names, and takes those that start with pg_ for itself.
std::optional<std::string> schema_problem(std::string_view text) {
  bool fine = !text.empty() && text.size() <= 63 && !text.starts_with("pg_");
  for (size_t i = 0; i < text.size(); ++i)
    fine = fine && ((text[i] >= 'a' && text[i] <= 'z') || text[i] == '_' ||
                    (i > 0 && text[i] >= '0' && text[i] <= '9'));
  if (fine) return std::nullopt;
  return "must be at most 63 of a-z, 0-9 and _, start with a letter or _, and not with pg_";
}

std::optional<std::string> token_problem(std::string_view text) {
  for (char c : text)
    if (c <= ' ' || c > '~') return "must be printable ASCII without spaces";
  if (text.size() < 8) return "is shorter than 8 characters, which can be guessed";
  return std::nullopt;
}

#define SLOT(member) [](auto& section) -> Slot { return &section.member; }

// layout: table
const std::vector<Field<Config>>& config_table() {
  static const std::vector<Field<Config>> table = {
      {.key = "server.address",
       .slot = SLOT(server.address),
       .fallback = "127.0.0.1",
       .description = "The IP address that the API listens on. Any other than a loopback address "
                      "needs a token, or `allow_unauthenticated`.",
       .variables = {"OPSCORE_SERVER_ADDRESS"},
       .flag = "--address",
       .problem = address_problem},
      {.key = "server.port",
       .slot = SLOT(server.port),
       .fallback = "8000",
       .description = "The TCP port of the API; 0 takes any free one and prints it.",
       .variables = {"OPSCORE_SERVER_PORT"},
       .flag = "--port",
       .max = 65535},
      {.key = "server.token",
       .slot = SLOT(server.token),
       .fallback = "",
       .description =
           "What clients must send as `Authorization: Bearer TOKEN`. Prefer the variable "
           "or a token file to writing it here.",
       .variables = {"OPSCORE_API_TOKEN"},
       .problem = token_problem,
       .secret = Secret::yes},
      {.key = "server.token_file",
       .slot = SLOT(server.token_file),
       .fallback = "",
       .description = "A file that holds the token, on one line.",
       .variables = {"OPSCORE_API_TOKEN_FILE"},
       .flag = "--token-file",
       .is_path = true},
      {.key = "server.allow_unauthenticated",
       .slot = SLOT(server.allow_unauthenticated),
       .fallback = "false",
       .description = "Lets the API listen on an address other than loopback without a token: "
                      "whoever reaches the port may then run every actor.",
       .variables = {"OPSCORE_ALLOW_UNAUTHENTICATED"},
       .flag = "--allow-unauthenticated"},
      {.key = "server.allowed_hosts",
       .slot = SLOT(server.allowed_hosts),
       .fallback = "",
       .description =
           "Without a token: the names under which clients call the server, beside loopback ones "
           "and, when it listens on another address, IP addresses. Requests with any other "
           "`Host` are refused, since a web page could have made a browser send them. In the "
           "variable separated by commas.",
       .variables = {"OPSCORE_SERVER_ALLOWED_HOSTS"},
       .problem = host_problem},
      {.key = "server.connections_max",
       .slot = SLOT(server.connections_max),
       .fallback = "10000",
       .description = "How many client connections may be open. Beyond that the one that was idle "
                      "longest is closed; when none is idle the answer is 503.",
       .variables = {"OPSCORE_SERVER_CONNECTIONS_MAX"},
       .min = 1,
       .max = 1'000'000},
      {.key = "server.client_timeout",
       .slot = SLOT(server.client_timeout),
       .fallback = "30s",
       .description = "How long a client may take to send the head of a request, to send its body, "
                      "or to read its answer or the next piece of a stream; bodies and answers get "
                      "a second more for every 64 KiB.",
       .variables = {"OPSCORE_SERVER_CLIENT_TIMEOUT"},
       .min = 100,
       .max = 3'600'000},
      {.key = "probes.port",
       .slot = SLOT(probes.port),
       .fallback = "",
       .description = "Where `worker` and `maintenance` answer `/health`, `/ready` and `/metrics`; "
                      "unset: nowhere. The API answers them on its own port.",
       .variables = {"OPSCORE_PROBES_PORT"},
       .flag = "--probes-port",
       .min = 1,
       .max = 65535},
      {.key = "probes.address",
       .slot = SLOT(probes.address),
       .fallback = "127.0.0.1",
       .description = "The IP address for that. As for `server.address`, any other than a loopback "
                      "address needs a token, which `/metrics` then asks for.",
       .variables = {"OPSCORE_PROBES_ADDRESS"},
       .flag = "--probes-address",
       .problem = address_problem},
      {.key = "api.compat",
       .slot = SLOT(api.compat),
       .fallback = "none",
       .description = "`ops-core`: answers as clients of ops-core expect them, see "
                      "[the guide](../howto/ops-core-compat.md).",
       .variables = {"OPSCORE_API_COMPAT"},
       .choices = {"none", "ops-core"}},
      {.key = "store.path",
       .slot = SLOT(store.path),
       .fallback = "./opscore-data/opscore.db",
       .description = "The SQLite file that holds everything when there is no PostgreSQL, or the "
                      "folder where it is `opscore.db`.",
       .variables = {"OPSCORE_DATA"},
       .flag = "--data",
       .is_path = true},
      {.key = "store.url",
       .slot = SLOT(store.url),
       .fallback = "",
       .description =
           "The store as a URL: `sqlite:///relative/path`, `sqlite:////absolute/path` or "
           "`postgresql://...`. A SQLAlchemy driver (`+asyncpg`, `+psycopg2`, ...) and its "
           "options are stripped, and `config show` says so.",
       .variables = {"OPSCORE_STORE_URL", "OPSCORE_DATABASE_URL", "DATABASE_URL"},
       .secret = Secret::url},
      {.key = "store.direct_url",
       .slot = SLOT(store.direct_url),
       .fallback = "",
       .description =
           "Where the URL of PostgreSQL leads through PgBouncer (and says `pgbouncer=true`): the "
           "same database without it, for what needs a session of its own.",
       .variables = {"OPSCORE_STORE_DIRECT_URL"},
       .secret = Secret::url},
      {.key = "store.schema",
       .slot = SLOT(store.schema),
       .fallback = "opscore",
       .description = "The schema of the tables in PostgreSQL. Installations with different ones "
                      "share a database.",
       .variables = {"OPSCORE_STORE_SCHEMA"},
       .problem = schema_problem},
      {.key = "store.exports",
       .slot = SLOT(store.exports),
       .fallback = "",
       .description =
           "The folder for what bulk jobs export. `maintenance` writes it and `api` reads it: on "
           "different machines they have to share it. Unset: beside the data file, as "
           "`opscore.db.exports`; on PostgreSQL `opscore-data/exports`.",
       .variables = {"OPSCORE_STORE_EXPORTS"},
       .is_path = true},
      {.key = "store.disk_reserve",
       .slot = SLOT(store.disk_reserve),
       .fallback = "64MiB",
       .description = "Free space on the data file's disk below which submits are refused, so that "
                      "what runs can still finish.",
       .variables = {"OPSCORE_STORE_DISK_RESERVE"}},
      {.key = "broker.url",
       .slot = SLOT(broker.url),
       .fallback = "",
       .description =
           "RabbitMQ, as `amqp://user:password@host:port/vhost` or `amqps://...`; several "
           "separated by commas are tried in their order. For workers and maintenance on "
           "PostgreSQL: it "
           "tells workers of work. On SQLite it is used for Dramatiq only, and `up` says so.",
       .variables = {"OPSCORE_BROKER_URL", "RABBITMQ_URL"},
       .problem = amqp_url_problem,
       .secret = Secret::url},
      {.key = "broker.management_url",
       .slot = SLOT(broker.management_url),
       .fallback = "",
       .description = "The management API of the same RabbitMQ, as "
                      "`http://user:password@host:15672`. It tells what consumers hold: only so "
                      "can opscore see that a message of Dramatiq is gone while its queue has "
                      "consumers.",
       .variables = {"OPSCORE_BROKER_MANAGEMENT_URL", "RABBITMQ_MANAGEMENT_URL"},
       .problem = http_url_problem,
       .secret = Secret::url},
      {.key = "broker.rabbitmq.adopt",
       .slot = SLOT(broker.rabbitmq.adopt),
       .fallback = "",
       .description = "Queues of Dramatiq whose messages this worker makes tasks of: it consumes "
                      "each and its `.DQ`. See docs/howto/dramatiq.md.",
       .variables = {"OPSCORE_ADOPT"},
       .flag = "--adopt",
       .problem = queue_name_problem},
      {.key = "broker.rabbitmq.max_priority",
       .slot = SLOT(broker.rabbitmq.max_priority),
       .fallback = "",
       .description = "`x-max-priority` of queues of Dramatiq that are not there yet, as the "
                      "`max_priority` of Dramatiq's RabbitmqBroker has it. Unset: none.",
       .variables = {"OPSCORE_BROKER_MAX_PRIORITY"},
       .min = 1,
       .max = 255},
      {.key = "broker.rabbitmq.dead_message_ttl",
       .slot = SLOT(broker.rabbitmq.dead_message_ttl),
       .fallback = "7d",
       .description = "How long RabbitMQ keeps what is dead, on `.XQ` queues that are not there "
                      "yet: as `dramatiq_dead_message_ttl` of Dramatiq has it.",
       .variables = {"OPSCORE_BROKER_DEAD_MESSAGE_TTL"},
       .min = 1,
       .max = 24 * kDayMs},
      {.key = "results.url",
       .slot = SLOT(results.url),
       .fallback = "",
       .description =
           "The Redis of the application's Results and GroupCallbacks, as "
           "`redis://[[user]:password@]host[:port][/database]`: for `get_result()` and completion "
           "callbacks of groups on messages that were adopted. Workers and maintenance need the "
           "same one. Used with `broker.url` only. See docs/howto/dramatiq.md.",
       .variables = {"OPSCORE_RESULTS_URL", "REDIS_URL"},
       .secret = Secret::url},
      {.key = "results.namespace",
       .slot = SLOT(results.name_space),
       .fallback = "dramatiq-results",
       .description = "`namespace` of the application's RedisBackend.",
       .variables = {"OPSCORE_RESULTS_NAMESPACE"}},
      {.key = "results.namespace_keys",
       .slot = SLOT(results.namespace_keys),
       .fallback = "false",
       .description = "Whether the application's RedisBackend has `use_namespace_prefix_keys` "
                      "(Dramatiq 2.2).",
       .variables = {"OPSCORE_RESULTS_NAMESPACE_KEYS"}},
      {.key = "results.actors",
       .slot = SLOT(results.actors),
       .fallback = "",
       .description = "Actors whose results are stored when their message does not say: those "
                      "declared with `store_results=True` in Python, which messages do not carry. "
                      "`*` is every actor, as `Results(store_results=True)`.",
       .variables = {"OPSCORE_RESULTS_ACTORS"}},
      {.key = "results.ttl",
       .slot = SLOT(results.ttl),
       .fallback = "10m",
       .description = "How long a result is kept, unless its message has a `result_ttl`.",
       .variables = {"OPSCORE_RESULTS_TTL"},
       .min = 1,
       .max = kYearsMs},
      {.key = "results.barrier_ttl",
       .slot = SLOT(results.barrier_ttl),
       .fallback = "1d",
       .description = "How long a group may take from one of its members to the next: "
                      "`barrier_ttl` of the application's GroupCallbacks.",
       .variables = {"OPSCORE_RESULTS_BARRIER_TTL"},
       .min = 1,
       .max = kYearsMs},
      {.key = "worker.slots",
       .slot = SLOT(worker.slots),
       .fallback = "",
       .description = "How many tasks a worker runs at the same time. Unset: 4 for each CPU, at "
                      "least 8.",
       .variables = {"OPSCORE_WORKER_SLOTS"},
       .flag = "--slots",
       .min = 1,
       .max = 1024},
      {.key = "worker.queues",
       .slot = SLOT(worker.queues),
       .fallback = "*",
       .description = "The queues to serve, each with a weight: `[\"default\", \"mail=3\"]`, or a "
                      "table `{default = 1, mail = 3}`; in flags and variables `default,mail=3`. "
                      "`*` is every queue that is not named.",
       .variables = {"OPSCORE_WORKER_QUEUES"},
       .flag = "--queues",
       .min = 1,
       .max = 1000,
       .problem = served_queue_problem},
      {.key = "worker.drain_grace",
       .slot = SLOT(worker.drain_grace),
       .fallback = "30s",
       .description = "How long running tasks may go on after SIGTERM, before they are stopped and "
                      "handed back.",
       .variables = {"OPSCORE_WORKER_DRAIN_GRACE"},
       .flag = "--drain-grace",
       .max = kDayMs},
      {.key = "python.modules",
       .slot = SLOT(python.modules),
       .fallback = "",
       .description = "Python modules whose actors the worker runs in interpreters of its own: "
                      "functions decorated with `@opscore.actor`, see "
                      "[the guide](../howto/python-actors.md).",
       .variables = {"OPSCORE_PYTHON_MODULES"},
       .flag = "--python",
       .problem = module_problem},
      {.key = "python.kind",
       .slot = SLOT(python.kind),
       .fallback = "opscore",
       .description = "What the modules have: `opscore`, functions decorated with "
                      "`@opscore.actor`; or `dramatiq`, actors of Dramatiq, where the first module "
                      "names the broker as the `dramatiq` command has it.",
       .variables = {"OPSCORE_PYTHON_KIND"},
       .choices = {"opscore", "dramatiq"}},
      {.key = "python.path",
       .slot = SLOT(python.path),
       .fallback = ".",
       .description = "Folders that come first where Python looks for modules.",
       .variables = {"OPSCORE_PYTHON_PATH"},
       .flag = "-P,--path",
       .is_path = true},
      {.key = "python.interpreter",
       .slot = SLOT(python.interpreter),
       .fallback = "",
       .description = "The interpreter. Unset: that of the active virtual environment, else the "
                      "`python3` of PATH.",
       .variables = {"OPSCORE_PYTHON_INTERPRETER"}},
      {.key = "python.processes",
       .slot = SLOT(python.processes),
       .fallback = "",
       .description = "How many interpreters. Unset: one for each CPU.",
       .variables = {"OPSCORE_PYTHON_PROCESSES"},
       .flag = "--python-processes",
       .min = 1,
       .max = 1024},
      {.key = "python.threads",
       .slot = SLOT(python.threads),
       .fallback = "8",
       .description = "How many tasks an interpreter runs at the same time. `async` actors take "
                      "none of its threads.",
       .variables = {"OPSCORE_PYTHON_THREADS"},
       .flag = "--python-threads",
       .min = 1,
       .max = 10'000},
      {.key = "python.max_memory",
       .slot = SLOT(python.max_memory),
       .fallback = "0",
       .description = "An interpreter whose resident memory is larger is replaced, once what it "
                      "runs has ended; 0: never.",
       .variables = {"OPSCORE_PYTHON_MAX_MEMORY"}},
      {.key = "python.max_tasks",
       .slot = SLOT(python.max_tasks),
       .fallback = "0",
       .description = "An interpreter that has run as many tasks is replaced in the same way; 0: "
                      "never.",
       .variables = {"OPSCORE_PYTHON_MAX_TASKS"}},
      {.key = "python.take_logging",
       .slot = SLOT(python.take_logging),
       .fallback = "true",
       .description = "Whether what actors log with `logging` goes to this process' log, named by "
                      "task; `false` leaves the root logger to the application.",
       .variables = {"OPSCORE_PYTHON_TAKE_LOGGING"}},
      {.key = "python.watch",
       .slot = SLOT(python.watch),
       .fallback = "",
       .description = "A folder: when a file in it changes, all interpreters are replaced by new "
                      "ones, and what runs ends where it is. For development.",
       .variables = {"OPSCORE_PYTHON_WATCH"},
       .flag = "--watch",
       .is_path = true},
      {.key = "python.watch_include",
       .slot = SLOT(python.watch_include),
       .fallback = "**.py",
       .description = "Patterns of the files that count; `*` stands for any characters, slashes "
                      "too.",
       .variables = {"OPSCORE_PYTHON_WATCH_INCLUDE"}},
      {.key = "python.watch_exclude",
       .slot = SLOT(python.watch_exclude),
       .fallback = "",
       .description = "Patterns of files that do not count although they are included.",
       .variables = {"OPSCORE_PYTHON_WATCH_EXCLUDE"}},
      {.key = "retention.completed",
       .slot = SLOT(retention.completed),
       .fallback = "7d",
       .description = "How long completed tasks are kept.",
       .variables = {"OPSCORE_RETENTION_COMPLETED"},
       .min = 1000,
       .max = kYearsMs},
      {.key = "retention.failed",
       .slot = SLOT(retention.failed),
       .fallback = "30d",
       .description = "How long failed and cancelled tasks are kept.",
       .variables = {"OPSCORE_RETENTION_FAILED"},
       .min = 1000,
       .max = kYearsMs},
      {.key = "retention.types",
       .slot = SLOT(retention.types),
       .fallback = "",
       .description = "How long completed tasks of single types are kept: "
                      "`[retention.types]` with lines such as `\"mail.send\" = \"1h\"`.",
       .min = 1000,
       .max = kYearsMs,
       .problem = name_problem},
      {.key = "log.level",
       .slot = SLOT(log.level),
       .fallback = "info",
       .description = "The least important lines that are logged.",
       .variables = {"OPSCORE_LOG_LEVEL"},
       .flag = "--log-level",
       .choices = {"trace", "debug", "info", "warn", "error", "off"}},
      {.key = "log.format",
       .slot = SLOT(log.format),
       .fallback = "auto",
       .description = "`text` for people, `json` for machines; `auto` is text on a terminal.",
       .variables = {"OPSCORE_LOG_FORMAT"},
       .flag = "--log-format",
       .choices = {"auto", "text", "json"}},
      {.key = "log.file",
       .slot = SLOT(log.file),
       .fallback = "",
       .description = "A file to log to instead of stderr. A process that cannot go on says why "
                      "on both.",
       .variables = {"OPSCORE_LOG_FILE"},
       .flag = "--log-file",
       .is_path = true},
      {.key = "sandbox.mode",
       .slot = SLOT(sandbox.mode),
       .fallback = "off",
       .description = "The sandbox of programs that say nothing of their own: `off`, `preferred` "
                      "(runs without it where there is none, and says so) or `required` (refuses "
                      "to start where there is none).",
       .variables = {"OPSCORE_SANDBOX_MODE"},
       .choices = {"off", "preferred", "required"}},
      {.key = "agent.provider",
       .slot = SLOT(agent.provider),
       .fallback = "",
       .description =
           "The language model provider for agent tasks that name none: `openai`, "
           "`openrouter`, `ollama`, `scripted`, or one of `[agent.providers]`. Unset: such "
           "tasks are refused, except that `up` replays a script and says so.",
       .variables = {"OPSCORE_AGENT_PROVIDER", "AGENTKIT_LLM_PROVIDER"},
       .problem = name_problem},
      {.key = "agent.model",
       .slot = SLOT(agent.model),
       .fallback = "",
       .description = "The model for agent tasks that name none.",
       .variables = {"OPSCORE_AGENT_MODEL", "AGENTKIT_LLM_MODEL"}},
      {.key = "agent.planner",
       .slot = SLOT(agent.planner),
       .fallback = "react",
       .description =
           "How an agent decides what to do next. This build has one way: `react`, asking "
           "the model for tool calls until it gives a final answer.",
       .variables = {"OPSCORE_AGENT_PLANNER", "AGENTKIT_PLANNER_TYPE"},
       .choices = {"react"}},
      {.key = "agent.memory",
       .slot = SLOT(agent.memory),
       .fallback = "none",
       .description = "Where an agent keeps what it should remember beyond a task. This build has "
                      "`none`.",
       .variables = {"OPSCORE_AGENT_MEMORY", "AGENTKIT_LTM_PROVIDER"},
       .choices = {"none"}},
      {.key = "agent.max_steps",
       .slot = SLOT(agent.max_steps),
       .fallback = "20",
       .description = "How many turns an agent task may take unless it says otherwise.",
       .variables = {"OPSCORE_AGENT_MAX_STEPS"},
       .min = 1,
       .max = 1000},
      {.key = "agent.providers",
       .slot = SLOT(agent.providers),
       .fallback = "",
       .description = "Language model providers: `[agent.providers.NAME]`, see below."},
      {.key = "webhooks.secret",
       .slot = SLOT(webhooks.secret),
       .fallback = "",
       .description = "Signs the calls of webhooks that name no secret of their own. Unset: those "
                      "are not signed.",
       .variables = {"OPSCORE_WEBHOOK_SECRET"},
       .secret = Secret::yes},
      {.key = "webhooks.timeout",
       .slot = SLOT(webhooks.timeout),
       .fallback = "10s",
       .description = "How long a webhook's receiver may take to answer.",
       .variables = {"OPSCORE_WEBHOOK_TIMEOUT"},
       .min = 100,
       .max = 60'000},
      {.key = "webhooks.max_attempts",
       .slot = SLOT(webhooks.max_attempts),
       .fallback = "24",
       .description = "How often a webhook is tried before it is given up: 1 s after the first "
                      "time, then after 2 s, 4 s and so on, up to an hour.",
       .variables = {"OPSCORE_WEBHOOK_MAX_ATTEMPTS"},
       .min = 1,
       .max = 1000},
      {.key = "net.allow",
       .slot = SLOT(net.allow),
       .fallback = "",
       .description =
           "Addresses and ranges that webhooks and the agent's `http_get` may connect to although "
           "they are not public: `[\"10.0.0.0/8\", \"127.0.0.1\"]`; in the variable separated by "
           "commas. URLs in this file may lead anywhere.",
       .variables = {"OPSCORE_NET_ALLOW"},
       .problem = range_problem},
      {.key = "client.url",
       .slot = SLOT(client.url),
       .fallback = "",
       .description = "Where client commands find the server. Unset: `server.address` and "
                      "`server.port`.",
       .variables = {"OPSCORE_URL"},
       .flag = "--url",
       .problem = http_url_problem},
      {.key = "actors",
       .slot = SLOT(actors),
       .fallback = "",
       .description = "Programs and web servers as actors: `[actors.NAME]`, see below."},
      {.key = "queues",
       .slot = SLOT(queues),
       .fallback = "",
       .description = "Limits of queues: `[queues.NAME]`, see below."},
  };
  return table;
}

#undef SLOT

}  // namespace

std::optional<std::string> http_url_problem(std::string_view text) {
  auto url = parse_http_url(std::string(text));
  return url ? std::nullopt : std::optional(url.error());
}

std::span<const Field<Config>> config_fields() {
  return config_table();
}

}  // namespace opscore
