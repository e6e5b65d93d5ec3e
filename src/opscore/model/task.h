#pragma once
// Plain data about tasks, shared by every module. Payloads (`input`, `result`, `metadata`,
// `progress`) are strict JSON text, moved untouched.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "opscore/base/task_key.h"
#include "opscore/base/time.h"
#include "opscore/model/state.h"

namespace opscore {

// One registration of a worker process. 0 = none.
struct SessionId {
  int64_t value = 0;
  auto operator<=>(const SessionId&) const = default;
  explicit operator bool() const { return value != 0; }
};

// The right of one session to finish one attempt.
struct Lease {
  TaskKey key;
  int attempt = 0;
  auto operator<=>(const Lease&) const = default;
};

// When to try again: delay = uniform(jitter_low, jitter_high) * min(max, min * factor^n), where n
// is the number of charged attempts minus one.
struct RetryPolicy {
  Duration min = std::chrono::seconds(1);
  Duration max = std::chrono::minutes(10);
  double factor = 2;
  double jitter_low = 0;
  double jitter_high = 1;
  bool operator==(const RetryPolicy&) const = default;
};

struct ErrorInfo {
  std::string kind;     // one of error_kind.h, or the actor's own word
  std::string message;  // one line for people
  std::string detail;   // traceback, stderr tail; may be long
  bool operator==(const ErrorInfo&) const = default;
};

// Whom to tell, by a POST, that a task has ended.
struct Webhook {
  std::string url;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string secret;  // signs the call; empty: the server's default does, if there is one
  bool operator==(const Webhook&) const = default;
};

// What a task was adopted from: a message of Dramatiq, which the store keeps beside the task. Says
// which of its ends somebody is to hear of; every failed end is one.
struct Adopted {
  std::string queue;        // the canonical one that it came from
  bool on_success = false;  // a callback, or the next stage of a pipeline
  bool on_failure = false;  // of any attempt
  std::string wanted_id;    // that the message asked for and did not get
  bool result = false;      // its result, or that it has failed, is kept for who asks Dramatiq
  bool group = false;       // it is counted in its group when it has completed
  // It came over HTTP: what it asks to be sent becomes tasks here, and no broker has its dead.
  bool over_http = false;
  bool operator==(const Adopted&) const = default;
};

// What only some tasks have. All empty for most, and then it costs nothing to store.
struct TaskOptions {
  std::string id;                                           // the submitter's own; empty: generated
  std::string name;                                         // for people
  std::vector<std::pair<std::string, std::string>> labels;  // sorted by name
  std::string metadata;                                     // JSON object, or empty
  std::optional<RetryPolicy> retry;
  std::optional<Duration> timeout;  // per attempt
  std::optional<TimePoint> deadline;
  std::string idempotency_key;
  std::optional<Webhook> webhook;
  std::optional<Adopted> adopted;
  bool unchecked = false;  // nobody has held the input against the actor's schema yet
  // Python's Dramatiq runs it: the options of its message, a JSON object. Empty: opscore runs it.
  std::string dramatiq;
  bool is_external() const { return !dramatiq.empty(); }
  bool empty() const {
    return id.empty() && name.empty() && labels.empty() && metadata.empty() && !retry && !timeout &&
           !deadline && idempotency_key.empty() && !webhook && !adopted && !unchecked &&
           dramatiq.empty();
  }
  bool operator==(const TaskOptions&) const = default;
};

inline constexpr int kUnlimitedAttempts = 0;

// What a submitter asked for, checked and with defaults applied.
struct TaskSpec {
  std::string type;
  std::string queue = "default";
  std::string input = "null";
  int priority = 0;                 // -100..100, higher first
  int max_attempts = 5;             // charged ones; kUnlimitedAttempts
  std::optional<TimePoint> run_at;  // nothing: at once, by the store's clock
  bool waiting = false;             // starts in State::waiting
  TaskOptions options;
};

// The part of an unfinished task that changes: one narrow row.
struct Live {
  State state = State::pending;
  TimePoint run_at;
  int attempt = 0;  // number of the last claim; grows with every one, never reused
  int charged = 0;  // attempts that count
  int budget = 0;   // charged attempts allowed, kUnlimitedAttempts for no limit
  int snoozes = 0;
  int losses = 0;                 // uncharged re-runs after a worker was lost
  int deaths = 0;                 // crashes of the worker that this task may have caused
  bool suspect = false;           // was entered when a worker crashed: runs alone of its kind
  bool cancel_requested = false;  // only while running
  int edits = 0;                  // how often the input was edited
  SessionId session;              // while running
  TimePoint claimed_at{};         // while running
  TimePoint started_at{};         // while running, once reported: the actor was entered
  // Its lease is external: somebody outside runs it, no session claims it, and until then nobody
  // doubts that it is in good hands.
  std::optional<TimePoint> external_until;
  bool claimable() const { return !external_until; }
  bool operator==(const Live&) const = default;
};

// A claimed task: what a worker needs to run it and to decide what comes next.
struct ClaimedTask {
  TaskKey key;
  std::string type;
  std::string queue;
  std::string input;
  int priority = 0;
  TaskOptions options;
  std::string problem;  // why it cannot be run: its row is damaged; empty: it can
  Live live;
  Lease lease() const { return {key, live.attempt}; }
};

// Everything that is known about a task.
struct Task {
  TaskKey key;
  std::string type;
  std::string queue;
  std::string input;  // the current one, after edits
  int priority = 0;
  int max_attempts = 0;
  TaskOptions options;
  Live live;             // for a finished task: state, attempt, charged, edits
  std::string progress;  // JSON, last value of this attempt; empty when none
  std::string result;    // JSON, when completed
  ErrorInfo error;       // when failed or cancelled; while unfinished, the last attempt's
  SessionId worker;      // that ran, or runs, the last attempt
  std::optional<TimePoint> started_at;   // of the last attempt
  std::optional<TimePoint> finished_at;  // when terminal
  TimePoint updated_at;

  State state() const { return live.state; }
  TimePoint created_at() const { return key.created_at(); }
};

// How an attempt ended.
enum class AttemptEnd : uint8_t {
  completed = 0,
  error = 1,  // the actor failed; worth another try
  fatal = 2,  // the actor failed; another try would too
  timeout = 3,
  cancelled = 4,
  lost = 5,     // the worker is gone
  crashed = 6,  // the worker died of a signal or of memory
  snoozed = 7,
  handed_back = 8,
};
std::string_view to_string(AttemptEnd end);
std::optional<AttemptEnd> attempt_end_from(std::string_view word);

struct Attempt {
  int number = 0;
  std::optional<AttemptEnd> end;  // nothing while it runs
  bool charged = false;
  SessionId worker;
  TimePoint claimed_at{};
  std::optional<TimePoint> started_at;
  std::optional<TimePoint> ended_at;
  ErrorInfo error;
};

// One line of a task's history.
struct TaskEvent {
  int number = 0;  // within the task, from 1
  TimePoint at{};
  std::string kind;  // submitted, started, retrying, cancel_requested, ...
  int attempt = 0;   // 0: not about one
  std::string data;  // JSON object, or empty
};

// One journaled action inside a task, which a retry replays.
struct Step {
  int number = 0;        // within the task, from 1
  std::string kind;      // llm, tool, child
  std::string name;      // model, tool name, ...
  std::string request;   // JSON: what the code asked for; replay compares it
  std::string response;  // JSON
  int attempt = 0;       // that recorded it
  TimePoint at{};
  Duration took{0};
};

// When `expire` may fail it: whoever runs a task outside has a deadline of its own.
inline std::optional<TimePoint> expiry_of(const TaskOptions& options) {
  return options.is_external() ? std::nullopt : options.deadline;
}

// The place of a task in its queue: smaller runs first.
inline int64_t order_of(TimePoint run_at, int priority) {
  return to_ms(run_at) - priority * 6000;
}

// `options` as compact JSON, empty when there is nothing to say; and back. Throws
// Error{corrupt}.
std::string encode_options(const TaskOptions& options);
TaskOptions decode_options(std::string_view text);
// The same, where one damaged row must not hold up others: then none are given, and `problem` says
// why.
TaskOptions usable_options(std::string_view text, std::string& problem);
std::string encode_error(const ErrorInfo& error);
ErrorInfo decode_error(std::string_view text);

}  // namespace opscore
