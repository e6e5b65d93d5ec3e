#pragma once
// The commands that talk to a server. Each prints and answers the exit status; refusals of the
// server are printed here, everything else is thrown as Error.

#include <functional>
#include <iosfwd>
#include <memory>
#include <optional>
#include <string>

#include "opscore/app/cli/api_client.h"
#include "opscore/app/cli/broker_access.h"
#include "opscore/app/cli/exit_codes.h"
#include "opscore/app/cli/screen.h"
#include "opscore/app/command_options.h"
#include "opscore/base/json.h"

namespace opscore {

// What a command works with. `in` is stdin.
struct ClientContext {
  const CommandLine& line;
  const Config& config;
  const Screen& screen;
  const Clock& clock;
  ApiClient& api;
  BrokerAccess& rabbitmq;
  std::istream& in;
  std::ostream& out;
  std::ostream& err;
};

using ClientCommand = CommandExit (*)(ClientContext&);
// Null when it is not one of these.
ClientCommand find_client_command(const std::string& command);

CommandExit submit_task(ClientContext& context);
CommandExit list_tasks(ClientContext& context);
CommandExit show_task(ClientContext& context);
CommandExit watch_task(ClientContext& context);   // until it is done
CommandExit watch_tasks(ClientContext& context);  // one, or all of them
CommandExit watch_queues(ClientContext& context);
CommandExit cancel_tasks(ClientContext& context);
CommandExit retry_tasks(ClientContext& context);
CommandExit delete_tasks(ClientContext& context);
CommandExit export_tasks(ClientContext& context);
CommandExit list_jobs(ClientContext& context);
CommandExit show_job(ClientContext& context);
CommandExit watch_job(ClientContext& context);
CommandExit stop_job(ClientContext& context);
CommandExit list_queues(ClientContext& context);
CommandExit show_queue(ClientContext& context);
CommandExit set_queue(ClientContext& context);
CommandExit pause_queue(ClientContext& context);
CommandExit resume_queue(ClientContext& context);
CommandExit purge_queue(ClientContext& context);
CommandExit list_workers(ClientContext& context);
CommandExit drain_worker(ClientContext& context);
CommandExit stop_worker(ClientContext& context);
CommandExit wait_for_workers(ClientContext& context);  // until one is ready
CommandExit show_worker(ClientContext& context);
CommandExit diff_workers(ClientContext& context);
CommandExit list_actors(ClientContext& context);
CommandExit set_actor(ClientContext& context);
CommandExit explain_task(ClientContext& context);
CommandExit reload_config(ClientContext& context);
CommandExit write_report(ClientContext& context);  // the archive for a bug report
CommandExit inspect_broker(ClientContext& context);
CommandExit redrive_broker(ClientContext& context);
CommandExit purge_broker(ClientContext& context);
CommandExit send_test(ClientContext& context);

// What the commands share.

// Prints "opscore: <what was attempted>: <the server's words>".
CommandExit print_refusal(ClientContext& context, const std::string& attempted,
                          const ApiAnswer& answer);
// The "warnings" of an answer, if it has any.
void print_warnings(ClientContext& context, const Json& answer);
// Gets `path`, and prints it as JSON or the members of its array `name` as a table.
CommandExit print_list(ClientContext& context, const std::string& path, const char* name,
                       std::vector<std::string> header,
                       const std::function<std::vector<std::string>(const Json&)>& row);
// The input as JSON text: `text` is JSON, @FILE or -. Throws Error{invalid}.
std::string read_input(const std::string& text, std::istream& in);
// The body of a submit. Throws Error{invalid} for a bad label or input.
std::string submit_body(const SubmitOptions& options, std::istream& in);
// The query of a list, "?status=..." or empty. Throws Error{invalid} for a bad time.
std::string list_query(const ListOptions& options, TimePoint now);

// Cancels, retries or deletes by filter: asks on a terminal, starts the job, follows it when --wait
// was given. Throws Error{invalid} for a bad filter.
CommandExit change_by_filter(ClientContext& context, const std::string& action);
// Follows a job until it ends or the deadline comes, with its progress on stderr; the last answer.
ApiAnswer follow_job(ClientContext& context, const std::string& id, Deadline until);
// "3 cancelled, 1 skipped (running)" and the exit status that goes with it.
CommandExit print_job_end(ClientContext& context, const ApiAnswer& answer);
// Asks on a terminal, unless --yes was given. False: no.
bool confirm(ClientContext& context, const std::string& question);
// An answer, or nothing while the server is away and may come back.
std::optional<ApiAnswer> ask(ApiClient& api, const std::string& path,
                             std::optional<Deadline>& patience);
// The time of a --since or --before, RFC 3339. Throws Error{invalid}.
std::string time_for_query(const char* option, const std::string& text, TimePoint now);

// How waiting for a task came out: the finished task, a refusal, or neither when time ran out.
struct Followed {
  std::optional<std::string> task;  // JSON text
  std::optional<ApiAnswer> refusal;
};
// Waits for the end of a task, until `until`. Calls `seen` with every answer in between. Goes on
// while the server is away for less than 30 s, as when it restarts after a crash.
Followed follow_task(ClientContext& context, const std::string& id, Deadline until,
                     const std::function<void(const std::string&)>& seen);
// The deadline of --wait. Throws Error{invalid}.
Deadline wait_deadline(const std::string& wait);
// Prints the result, or why there is none.
CommandExit print_outcome(ClientContext& context, const std::string& task_text);

}  // namespace opscore
