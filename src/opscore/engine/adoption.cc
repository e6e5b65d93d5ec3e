#include "opscore/engine/adoption.h"

#include <fmt/format.h>

#include <algorithm>

#include "opscore/base/hash.h"
#include "opscore/base/json.h"
#include "opscore/base/utf8.h"
#include "opscore/broker/dramatiq/strict_view.h"
#include "opscore/broker/dramatiq/task_message.h"
#include "opscore/model/limits.h"
#include "opscore/model/names.h"

namespace opscore {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

// Dramatiq's own defaults and bounds.
constexpr int kMaxRetries = 20;
constexpr seconds kMinBackoff{15};
constexpr hours kMaxBackoff{24 * 7};
constexpr minutes kTimeLimit{10};
constexpr Duration kTimeLimitMax = hours(24 * 30);
constexpr int64_t kAttemptsMax = 1'000'000;
// A year that any clock and any store can express.
constexpr int64_t kTimeMaxMs = 253'402'300'799'000;
constexpr size_t kKeyMax = 200;
constexpr size_t kOptionsMax = 64 << 10;

Adoption refuse(std::string reason) {
  Adoption adoption;
  adoption.reason = std::move(reason);
  return adoption;
}

// Precedence everywhere: the message, then what opscore declares, then Dramatiq's default.

int attempts_of(const PythonMembers& options, const CatalogueEntry& actor) {
  if (is_null(options, "max_retries")) return kUnlimitedAttempts;
  int64_t attempts = actor.max_attempts.value_or(kMaxRetries + 1);
  if (auto retries = integer_option(options, "max_retries"))
    attempts = *retries + 1;
  else if (attempts == kUnlimitedAttempts)
    return kUnlimitedAttempts;
  // Python may have tried it before.
  int64_t before = integer_option(options, "retries").value_or(0);
  return static_cast<int>(std::clamp<int64_t>(attempts - before, 1, kAttemptsMax));
}

std::optional<Duration> backoff_option(const PythonMembers& options, const char* name) {
  auto ms = number_option(options, name);
  if (!ms) return std::nullopt;
  return Duration(static_cast<int64_t>(
      std::clamp(*ms, 0.0, static_cast<double>(Duration(kMaxBackoff).count()))));
}

// Dramatiq waits min * 2^n, times 1 to 2, and at most half to all of max: which is half to all of
// twice that.
RetryPolicy retry_of(const PythonMembers& options, const CatalogueEntry& actor) {
  RetryPolicy policy{Duration(kMinBackoff) * 2, kMaxBackoff, 2, 0.5, 1};
  if (actor.retry) policy = *actor.retry;
  if (auto least = backoff_option(options, "min_backoff")) {
    policy.min = *least * 2;
    policy.factor = 2;
    policy.jitter_low = 0.5;
    policy.jitter_high = 1;
  }
  if (auto most = backoff_option(options, "max_backoff")) policy.max = *most;
  policy.min = std::min(policy.min, policy.max);
  return policy;
}

Duration timeout_of(const PythonMembers& options, const CatalogueEntry& actor) {
  const std::string* text = options.find("time_limit");
  if (text && *text == "Infinity") return kTimeLimitMax;
  auto ms = number_option(options, "time_limit");
  if (!ms || *ms <= 0) return actor.timeout.value_or(kTimeLimit);
  return std::min(kTimeLimitMax,
                  Duration(std::max<int64_t>(1, static_cast<int64_t>(std::min(*ms, 1e15)))));
}

TimePoint time_of(double ms) {
  return from_ms(static_cast<int64_t>(std::clamp(ms, 0.0, static_cast<double>(kTimeMaxMs))));
}

// Of who speaks Python's JSON no more: what is not text there would not be JSON here.
std::string agent_input(const DramatiqMessage& message, std::string* wanted_id) {
  static constexpr const char* kParameters[] = {"task_id", "goal", "input_data"};
  PythonMembers arguments = PythonMembers::of_object(message.kwargs);
  auto positional = PythonMembers::of_array(message.args);
  for (size_t i = 0; i < positional.size(); ++i)
    arguments.set(i < std::size(kParameters) ? kParameters[i] : fmt::format("argument_{}", i + 1),
                  std::string(positional[i]));
  PythonMembers input;
  if (const std::string* data = arguments.find("input_data")) {
    if (data->front() == '{')
      input = PythonMembers::of_object(*data);
    else if (*data != "null")
      input.set("input_data", *data);
  }
  if (auto id = text_option(arguments, "task_id")) *wanted_id = *id;
  for (const PythonMembers::Member& argument : arguments.members)
    if (argument.name != "task_id" && argument.name != "input_data" && argument.value != "null")
      input.set(argument.name, argument.value);
  return input.encode();
}

std::string input_of(const DramatiqMessage& message, const CatalogueEntry& actor,
                     std::string* wanted_id) {
  if (actor.kind == "agent") return agent_input(message, wanted_id);
  if (auto id = text_option(PythonMembers::of_object(message.kwargs), "task_id")) *wanted_id = *id;
  return fmt::format(R"({{"args":{},"kwargs":{}}})", message.args, message.kwargs);
}

std::string metadata_of(const DramatiqMessage& message, const StrictView& view,
                        const std::string& unusable_id) {
  Json metadata{{"dramatiq_message_id", to_valid_utf8(message.message_id)}};
  if (!unusable_id.empty()) metadata["dramatiq_task_id"] = to_valid_utf8(unusable_id);
  if (view.lossy_total > 0) metadata["dramatiq_lossy"] = view.lossy;
  if (view.lossy_total > view.lossy.size()) metadata["dramatiq_lossy_total"] = view.lossy_total;
  return metadata.dump();
}

// For actors in Python, whose middleware looks at the options; without the messages that are sent
// afterwards, which the store sends.
std::string options_of(const DramatiqMessage& message) {
  PythonMembers options = message.options;
  options.erase("pipe_target");
  options.erase("group_completion_callbacks");
  return strict_view(options.encode()).json;
}

void add_message(std::string& metadata, const std::string& options,
                 const std::string& message_timestamp) {
  metadata.pop_back();
  metadata += fmt::format(R"(,"dramatiq_options":{})", options);
  if (!message_timestamp.empty())
    metadata +=
        fmt::format(R"(,"dramatiq_message_timestamp":{})", strict_view(message_timestamp).json);
  metadata += '}';
}

bool stores_result(const DramatiqMessage& message, const AdoptionContext& context) {
  if (message.options.find("store_results")) return is_true(message.options, "store_results");
  return context.has_results && context.stores_results(message.actor_name);
}

bool is_counted(const DramatiqMessage& message) {
  return text_option(message.options, "group_completion_uuid").value_or("") != "" &&
         is_true(message.options, "group_completion_callbacks");
}

Adopted told_of(const DramatiqMessage& message, const AdoptionContext& context) {
  Adopted adopted;
  adopted.queue = canonical_queue(message.queue_name);
  adopted.on_success =
      is_true(message.options, "on_success") || is_true(message.options, "pipe_target");
  adopted.on_failure = is_true(message.options, "on_failure");
  adopted.result = context.has_results && stores_result(message, context);
  adopted.group = is_counted(message);
  adopted.over_http = context.over_http;
  // Else every failure is told anyway, for the dead message.
  if (context.over_http) adopted.on_failure |= is_true(message.options, "on_retry_exhausted");
  return adopted;
}

void set_times(TaskSpec& spec, const DramatiqMessage& message, const CatalogueEntry& actor) {
  const PythonMembers& options = message.options;
  if (auto eta = number_option(options, "eta")) spec.run_at = time_of(*eta);
  spec.options.timeout = timeout_of(options, actor);
  auto made = made_at_ms(message);
  auto max_age = number_option(options, "max_age");
  if (made && max_age && *max_age != 0)
    spec.options.deadline = time_of(static_cast<double>(*made) + *max_age);
}

std::optional<std::string> needs_what_is_missing(const DramatiqMessage& message,
                                                 const AdoptionContext& context) {
  if (context.has_results) return std::nullopt;
  if (stores_result(message, context) && !context.over_http)
    return "it asks for its result to be stored (store_results), and no results backend is "
           "configured here: set results.url to the application's Redis, then send it again";
  if (is_counted(message))
    return "it belongs to a group with completion callbacks, and no results backend that counts "
           "them is configured here: set results.url to the application's Redis, then send it "
           "again";
  return std::nullopt;
}

// Which id the task gets; empty: a generated one. `wanted` is what its arguments say.
std::string own_id_of(const DramatiqMessage& message, const std::string& wanted,
                      const AdoptionContext& context) {
  if (!wanted.empty() && !task_id_problem(wanted)) return wanted;
  if (context.over_http && !task_id_problem(message.message_id)) return message.message_id;
  return {};
}

// Python's workers make of the options what they say, and do themselves what opscore does at the
// ends of its own tasks. What nobody says is for the actor's declaration there.
void hand_over(TaskSpec& spec, const DramatiqMessage& message, const CatalogueEntry& actor,
               TimePoint now) {
  if (!message.options.find("max_retries"))
    spec.max_attempts = actor.max_attempts.value_or(kUnlimitedAttempts);
  TaskOptions& options = spec.options;
  options.retry = actor.retry;
  options.timeout = actor.timeout;
  PythonMembers said =
      PythonMembers::of_object(message_options(actor.dramatiq, spec, actor.max_attempts, now));
  for (const PythonMembers::Member& option : message.options.members)
    if (option.name != "eta") said.set(option.name, option.value);
  options.dramatiq = strict_view(said.encode()).json;
  options.adopted.reset();
  options.unchecked = false;
}

Adoption adopt(DramatiqMessage message, const std::string& body, const CatalogueEntry& actor,
               const AdoptionContext& context) {
  if (message.message_id.empty()) message.message_id = context.fresh_id;
  if (message.message_id.empty())
    return refuse("it has no message_id, by which it is known when it is sent again");
  std::string wanted_id;
  const StrictView view = strict_view(input_of(message, actor, &wanted_id));
  if (view.json.size() > context.input_bytes_max)
    return refuse(fmt::format("its arguments are {} bytes long, at most {} are taken",
                              view.json.size(), context.input_bytes_max));
  if (auto checked = check_json(view.json); !checked)
    return refuse("its arguments: " + checked.error().message());
  Adoption adoption;
  adoption.kind = Adoption::Kind::adopt;
  InsertItem& item = adoption.item;
  TaskSpec& spec = item.spec;
  spec.type = actor.type;
  spec.queue = canonical_queue(message.queue_name);
  spec.input = view.json;
  spec.max_attempts = attempts_of(message.options, actor);
  spec.priority = static_cast<int>(std::clamp<int64_t>(
      integer_option(message.options, "broker_priority").value_or(0), 0, limits::kPriorityMax));
  set_times(spec, message, actor);
  TaskOptions& options = spec.options;
  options.retry = retry_of(message.options, actor);
  options.adopted = told_of(message, context);
  options.unchecked = !actor.input_schema.empty();
  options.id = own_id_of(message, wanted_id, context);
  options.metadata = metadata_of(message, view, options.id == wanted_id ? "" : wanted_id);
  if (actor.kind == kPythonKind || context.over_http) {
    const std::string given = options_of(message);
    if (given.size() > kOptionsMax)
      return refuse(fmt::format("its options are {} bytes long, at most {} are kept beside a task",
                                given.size(), kOptionsMax));
    add_message(options.metadata, given, message.message_timestamp);
  }
  if (actor.kind == kDramatiqKind) hand_over(spec, message, actor, context.now);
  item.message_id = message_key(message.message_id);
  item.request_hash = sha256(item.message_id).substr(0, 16);
  item.keys.push_back({UniqueKey::Kind::message_id, "", item.message_id});
  if (!options.id.empty()) item.keys.push_back({UniqueKey::Kind::task_id, "", options.id});
  item.on_conflict = InsertItem::OnConflict::derive_id;
  item.origin = body;
  return adoption;
}

// How long a message of somebody else waits before each of its hops; the last again and again.
constexpr Duration kHopWaits[] = {seconds(1), seconds(5), seconds(30), seconds(60)};
constexpr minutes kHopsMax{10};
constexpr char kHops[] = "opscore_hops";
constexpr char kFirstHop[] = "opscore_first_hop";
constexpr char kConsumerSeen[] = "opscore_consumer_seen";

}  // namespace

std::function<bool(const std::string&)> is_one_of(std::vector<std::string> names) {
  return [names = std::move(names)](const std::string& name) {
    return std::ranges::count(names, "*") > 0 || std::ranges::count(names, name) > 0;
  };
}

std::string message_key(std::string_view message_id) {
  const std::string quoted = quote_python(message_id);
  std::string key = quoted.substr(1, quoted.size() - 2);
  return key.size() <= kKeyMax ? key : "sha256:" + to_hex(sha256(message_id));
}

Adoption decide_adoption(const ForeignDelivery& delivery, const AdoptionContext& context) {
  if (!delivery.is_whole())
    return refuse(fmt::format("the message is {} bytes long, at most {} are read", delivery.size,
                              delivery.body.size()));
  auto message = decode_dramatiq(delivery.body);
  if (!message) return refuse(message.error().message());
  const std::string_view queue = canonical_queue(message->queue_name);
  if (context.over_http) {
    if (auto problem = queue_name_problem(queue))
      return refuse(fmt::format("its queue_name '{}' {}", to_valid_utf8(shown(message->queue_name)),
                                *problem));
  } else if (queue != canonical_queue(delivery.queue)) {
    return refuse(fmt::format("its queue_name is '{}', but it is on queue '{}'",
                              to_valid_utf8(shown(message->queue_name)), delivery.queue));
  }
  // An application that is hosted here may still have an agent of its own.
  const CatalogueEntry* actor = context.find_actor(message->actor_name);
  if (!actor && message->actor_name == kAgentActorName) actor = context.find_actor(kAgentType);
  if (!actor || (actor->kind == kDramatiqKind && !context.over_http)) {
    Adoption adoption;
    adoption.kind = Adoption::Kind::park;
    adoption.message = *std::move(message);
    return adoption;
  }
  if (auto problem = needs_what_is_missing(*message, context)) return refuse(*problem);
  return adopt(*std::move(message), delivery.body, *actor, context);
}

ForeignHop decide_hop(DramatiqMessage message, bool others_consume, TimePoint now) {
  ForeignHop hop;
  const int64_t hops = integer_option(message.options, kHops).value_or(0);
  const int64_t first = integer_option(message.options, kFirstHop).value_or(to_ms(now));
  const bool seen = others_consume || is_true(message.options, kConsumerSeen);
  if (!seen && to_ms(now) - first >= Duration(kHopsMax).count()) {
    hop.reason = fmt::format(
        "nobody runs actor '{}': opscore does not declare it, and no other consumer was seen on "
        "queue '{}' for {}, in which it came back {} times",
        to_valid_utf8(shown(message.actor_name)), canonical_queue(message.queue_name),
        to_text(kHopsMax), hops);
    // Sent again, it begins anew.
    for (const char* trace : {kHops, kFirstHop, kConsumerSeen}) message.options.erase(trace);
  } else {
    hop.wait = kHopWaits[std::clamp<int64_t>(hops, 0, std::size(kHopWaits) - 1)];
    message.options.set(kHops, std::to_string(std::max<int64_t>(hops, 0) + 1));
    message.options.set(kFirstHop, std::to_string(first));
    if (seen) message.options.set(kConsumerSeen, "true");
  }
  hop.message = std::move(message);
  return hop;
}

}  // namespace opscore
