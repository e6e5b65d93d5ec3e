// One real message, followed from hop to hop.

#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "opscore/app/cli/client_commands.h"
#include "opscore/app/cli/json_field.h"
#include "opscore/base/json.h"
#include "opscore/base/task_key.h"
#include "opscore/broker/dramatiq/seen_message.h"
#include "opscore/broker/dramatiq/task_message.h"

namespace opscore {
namespace {

constexpr Duration kLookEvery{100};
constexpr size_t kDeadLooked = 1000;

// Says each hop once, with the time since the first.
class Hops {
 public:
  explicit Hops(ClientContext& context) : context_(context), began_(context.clock.steady()) {}

  void pass(const std::string& hop, const std::string& words) {
    if (std::ranges::find(passed_, hop) != passed_.end()) return;
    passed_.push_back(hop);
    const int64_t after_ms = (context_.clock.steady() - began_).count();
    if (context_.line.json)
      context_.out << Json{{"hop", hop}, {"after_ms", after_ms}, {"words", words}}.dump() << '\n';
    else
      context_.out << fmt::format("{:>8} ms  {:<9} {}\n", after_ms, hop,
                                  printable(context_.screen, words));
    context_.out << std::flush;
  }

 private:
  ClientContext& context_;
  const SteadyPoint began_;
  std::vector<std::string> passed_;
};

std::string random_uuid() {
  SystemRandom random;
  const uint64_t high = random.next(), low = random.next();
  return fmt::format("{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}", high >> 32, high >> 16 & 0xffff,
                     high & 0xfff, (low >> 48 & 0x3fff) | 0x8000, low & 0xffffffffffff);
}

// What the task's history says, hop by hop.
void pass_events(ClientContext& context, const std::string& id, Hops& hops) {
  ApiAnswer answer = context.api.get(fmt::format("/tasks/{}/events", percent_encode(id)));
  if (!answer.ok()) return;
  const Json events = parse_json(answer.body);
  for (const Json& event : events.value("events", Json::array())) {
    const std::string kind = field_text(event, "kind");
    const Json data = event.value("data", Json::object());
    if (kind == "handed_to_dramatiq")
      hops.pass("handed", fmt::format("RabbitMQ has confirmed its message, on queue '{}'",
                                      field_text(data, "queue")));
    if (kind == "picked_up")
      hops.pass("picked up", fmt::format("by Python worker {}", field_text(data, "worker")));
    if (kind == "started") hops.pass("started", "an attempt has begun");
  }
}

CommandExit end_of(ClientContext& context, const Json& task, Hops& hops) {
  const std::string status = field_text(task, "status");
  const bool completed = status == "completed";
  hops.pass(status, completed ? "with the result " + field_text(task, "result").substr(0, 200)
                              : field_text(task, "error_message"));
  return completed ? CommandExit::ok : CommandExit::failed;
}

bool is_done(const Json& task) {
  auto state = state_from(field_text(task, "status"));
  return state && is_terminal(*state);
}

std::string why_unfinished(ClientContext& context, const std::string& id) {
  ApiAnswer answer = context.api.get(fmt::format("/tasks/{}/explain", percent_encode(id)));
  return answer.ok() ? field_text(parse_json(answer.body), "sentence") : refusal_words(answer);
}

// Follows a task until it has ended, or time is up.
CommandExit follow(ClientContext& context, const std::string& id, Hops& hops, Deadline until) {
  for (;;) {
    pass_events(context, id, hops);
    ApiAnswer answer = context.api.get(fmt::format("/tasks/{}", percent_encode(id)));
    if (!answer.ok()) return print_refusal(context, "follow task " + id, answer);
    const Json task = parse_json(answer.body);
    if (is_done(task)) {
      pass_events(context, id, hops);
      return end_of(context, task, hops);
    }
    if (until.passed()) break;
    std::this_thread::sleep_for(kLookEvery);
  }
  hops.pass("stuck", why_unfinished(context, id));
  return CommandExit::unfinished;
}

// To an actor of Python: a task, which opscore hands over.
CommandExit send_task(ClientContext& context, Hops& hops, Deadline until) {
  SubmitOptions submit;
  submit.type = context.line.test.actor;
  submit.queue = context.line.queue;
  submit.input = context.line.input;
  ApiAnswer answer = context.api.post("/tasks", submit_body(submit, context.in));
  if (!answer.ok()) return print_refusal(context, "submit " + submit.type, answer);
  const std::string id = field_text(parse_json(answer.body), "task_id");
  hops.pass("submitted", fmt::format("task {}, which Python is to run", id));
  return follow(context, id, hops, until);
}

struct Sent {
  DramatiqMessage message;
  std::string task_id;  // that it asks for
};

Sent send_message(ClientContext& context, Hops& hops) {
  Sent sent;
  DramatiqMessage& message = sent.message;
  auto arguments = arguments_of(read_input(context.line.input.value_or("null"), context.in));
  if (!arguments) throw Error(Errc::invalid, "--input: " + arguments.error().message());
  message.queue_name = context.line.queue.empty() ? "default" : context.line.queue;
  message.actor_name = context.line.test.actor;
  message.args = arguments->args;
  message.message_id = random_uuid();
  sent.task_id = "send-test-" + message.message_id;
  PythonMembers kwargs = PythonMembers::of_object(arguments->kwargs);
  kwargs.set("task_id", quote_python(sent.task_id));
  message.kwargs = kwargs.encode();
  message.message_timestamp = std::to_string(to_ms(context.clock.now()));
  auto taken = context.rabbitmq.broker().publish(
      std::vector{ForeignMessage{message.queue_name, encode_dramatiq(message), {}, {}}});
  if (!taken.at(0)) {
    std::string why = "RabbitMQ refuses the queue";
    for (const Refusal& refusal : context.rabbitmq.broker().state().refused) why = refusal.why;
    throw Error(Errc::conflict, why);
  }
  hops.pass("sent", fmt::format("message {} for actor '{}', confirmed by RabbitMQ on queue '{}'",
                                message.message_id, message.actor_name, message.queue_name));
  return sent;
}

// Why it is dead, if it is.
std::optional<std::string> death_of(ClientContext& context, const DramatiqMessage& message) {
  const std::string dead = message.queue_name + std::string(kDeadSuffix);
  auto counts = context.rabbitmq.broker().queues(std::vector{dead});
  if (counts.empty() || counts.front().ready == 0) return std::nullopt;
  auto walk = context.rabbitmq.broker().walk(dead);
  for (const WalkedMessage& walked : walk->next(kDeadLooked)) {
    SeenMessage seen = describe(walked);
    if (seen.message && seen.message->message_id == message.message_id)
      return seen.why.empty() ? "no reason given" : seen.why;
  }
  return std::nullopt;
}

std::string standing(ClientContext& context, const std::string& queue) {
  auto counts = context.rabbitmq.broker().queues(std::vector{queue});
  if (counts.empty()) return fmt::format("queue '{}' is gone", queue);
  if (counts.front().consumers == 0)
    return fmt::format(
        "nobody consumes '{}': start a Dramatiq worker for it, or have opscore "
        "adopt it (adopt = [\"{}\"])",
        queue, queue);
  return fmt::format(
      "'{}' has {} consumers and {} messages waiting; none has made a task of this "
      "one. A worker of Python that runs '{}' itself tells opscore nothing of it",
      queue, counts.front().consumers, counts.front().ready, context.line.test.actor);
}

// To a queue that opscore adopts: a message as Python's producers send it.
CommandExit follow_message(ClientContext& context, const Sent& sent, Hops& hops, Deadline until) {
  for (;;) {
    ApiAnswer answer = context.api.get(fmt::format("/tasks/{}", percent_encode(sent.task_id)));
    if (answer.ok()) {
      hops.pass("adopted", fmt::format("opscore has made task {} of it", sent.task_id));
      return follow(context, sent.task_id, hops, until);
    }
    if (auto why = death_of(context, sent.message)) {
      hops.pass("dead",
                fmt::format("on queue '{}{}': {}", sent.message.queue_name, kDeadSuffix, *why));
      return CommandExit::failed;
    }
    if (until.passed()) break;
    std::this_thread::sleep_for(kLookEvery);
  }
  hops.pass("stuck", standing(context, sent.message.queue_name));
  return CommandExit::unfinished;
}

}  // namespace

CommandExit send_test(ClientContext& context) {
  const Deadline until = wait_deadline(context.line.test.wait);
  Hops hops(context);
  ApiAnswer actor = context.api.get("/actors/" + percent_encode(context.line.test.actor));
  if (actor.ok() && field_text(parse_json(actor.body), "kind") == "dramatiq")
    return send_task(context, hops, until);
  return follow_message(context, send_message(context, hops), hops, until);
}

}  // namespace opscore
