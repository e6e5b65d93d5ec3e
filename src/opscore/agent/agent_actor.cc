#include "opscore/agent/agent_actor.h"

#include <fmt/format.h>

#include <algorithm>

#include "opscore/agent/agent_input.h"
#include "opscore/agent/journal.h"
#include "opscore/model/error_kind.h"

namespace opscore {
namespace {

constexpr char kProviderError[] = "provider_error";
constexpr char kBudgetExceeded[] = "budget_exceeded";
constexpr char kSystem[] =
    "You are an agent that completes one task. Use the tools you are given when they help; do not "
    "guess what a tool can tell you. When you are done, answer with the result only.";
constexpr size_t kShownBytes = 1000;

std::string shortened(const std::string& text, size_t bytes) {
  if (text.size() <= bytes) return text;
  while (bytes > 0 && (static_cast<unsigned char>(text[bytes]) & 0xC0) == 0x80) --bytes;
  return text.substr(0, bytes) + fmt::format("... (cut off; {} bytes in all)", text.size());
}

// One run of an agent. Everything that it does between two steps depends only on the input, the
// options and the journaled answers, so that a replay asks for the same steps.
class AgentRun {
 public:
  AgentRun(TaskContext& task, const AgentOptions& options, const AgentRequest& request)
      : task_(task),
        options_(options),
        request_(request),
        client_(*options.providers.at(request.provider).client) {
    conversation_.model = request.model;
    conversation_.temperature = request.temperature;
    conversation_.messages = {{.role = LlmMessage::Role::system,
                               .text = request.system.empty() ? kSystem : request.system},
                              {.role = LlmMessage::Role::user, .text = request.prompt}};
    for (const Tool* tool : request.tools)
      conversation_.tools.push_back(
          {tool->spec().name, tool->spec().description, tool->spec().parameters});
  }

  Outcome run() {
    for (turn_ = 1; turn_ <= request_.steps_max; ++turn_) {
      if (auto over = over_budget(nullptr)) return *over;
      report(fmt::format("asking {} {}", client_.provider(), request_.model));
      LlmTurn turn;
      try {
        turn = ask();
      } catch (const LlmError& error) {
        if (must_end()) throw;
        if (auto over = over_time(error)) return *over;
        return Outcome::fail({kProviderError, error.message(), {}}, error.retryable(),
                             error.retry_after());
      }
      account(turn);
      if (auto over = over_budget(&turn.response.message)) return *over;
      if (turn.response.message.tool_calls.empty()) return completed(turn.response);
      if (turn_ == request_.steps_max) break;  // nobody would read what the tools answer
      conversation_.messages.push_back(turn.response.message);
      if (auto over = call_tools(turn.response.message.tool_calls)) return *over;
    }
    return exceeded(fmt::format("no final answer within {} steps", request_.steps_max), nullptr);
  }

 private:
  bool must_end() const { return task_.stop().stop_requested() || task_.deadline().passed(); }

  // Between steps, so that a stopped agent does not begin another one.
  void check_stop() const {
    if (task_.stop().stop_requested()) throw Error(Errc::cancelled, "the agent was stopped");
    if (task_.deadline().passed()) throw Error(Errc::timeout, "the agent ran out of time");
  }

  // The end of one action: the attempt's, or when the task's budget of seconds is used up.
  Deadline action_deadline() const {
    if (!request_.time_max) return task_.deadline();
    const Duration left = std::max(Duration(0), *request_.time_max - spent_);
    return Deadline::at(std::min(task_.deadline().when(), Deadline::after(left).when()));
  }

  LlmTurn ask() {
    check_stop();
    asked_until_ = action_deadline();
    const std::string answer = task_.step(
        "llm", request_.model, encode_llm_request(request_, conversation_, turn_, sent_), [&] {
          const SteadyPoint begin = task_.clock().steady();
          LlmResponse response = client_.complete(conversation_, task_.stop(), asked_until_);
          refuse_useless(response);
          return encode_llm_answer(response, took_since(begin));
        });
    sent_ = conversation_.messages.size() + 1;  // the answer's own turn is in the journal
    return decode_llm_answer(answer);
  }

  // Not journaled, so that a retry asks again.
  void refuse_useless(const LlmResponse& response) const {
    const LlmMessage& message = response.message;
    if (!message.tool_calls.empty()) return;
    if (response.finish_reason == "content_filter")
      throw LlmError(Errc::invalid, client_.provider() + ": stopped by the content filter", false);
    if (!message.text.empty()) return;
    if (response.finish_reason == "length")
      throw LlmError(Errc::invalid,
                     client_.provider() + ": ran out of output tokens before an answer", false);
    throw LlmError(Errc::unavailable, client_.provider() + ": the model answered nothing", true);
  }

  Duration took_since(SteadyPoint begin) const {
    return std::chrono::duration_cast<Duration>(task_.clock().steady() - begin);
  }

  void account(const LlmTurn& turn) {
    spent_ += turn.took;
    usage_.input_tokens += turn.response.usage.input_tokens;
    usage_.output_tokens += turn.response.usage.output_tokens;
  }

  std::optional<Outcome> call_tools(const std::vector<LlmToolCall>& calls) {
    for (size_t i = 0; i < calls.size(); ++i) {
      if (auto over = over_budget(nullptr)) return over;
      const ToolTurn turn =
          i < options_.limits.tool_calls_per_turn
              ? call_tool(calls[i])
              : ToolTurn{.ok = false,
                         .text = fmt::format("not called: at most {} calls a turn",
                                             options_.limits.tool_calls_per_turn)};
      spent_ += turn.took;
      tool_calls_.push_back({{"step", turn_},
                             {"name", calls[i].name},
                             {"arguments", shortened(calls[i].arguments, kShownBytes)},
                             {"ok", turn.ok},
                             {"result", shortened(turn.text, kShownBytes)}});
      conversation_.messages.push_back({.role = LlmMessage::Role::tool,
                                        .text = turn.ok ? turn.text : "Error: " + turn.text,
                                        .tool_call_id = calls[i].id});
    }
    return std::nullopt;
  }

  ToolTurn call_tool(const LlmToolCall& call) {
    check_stop();
    report("calling " + call.name);
    const std::string answer = task_.step("tool", call.name, encode_tool_request(call), [&] {
      const SteadyPoint begin = task_.clock().steady();
      const auto result = invoke(call);
      // A call that was broken off says nothing about the tool: not journaled, made again.
      check_stop();
      const std::string& text = result ? *result : result.error();
      return encode_tool_answer(
          {.ok = result.has_value(),
           .text = shortened(to_valid_utf8(text), options_.limits.tool_result_bytes),
           .took = took_since(begin)});
    });
    return decode_tool_answer(answer);
  }

  std::expected<std::string, std::string> invoke(const LlmToolCall& call) {
    const auto tool =
        std::find_if(request_.tools.begin(), request_.tools.end(),
                     [&](const Tool* each) { return each->spec().name == call.name; });
    if (tool == request_.tools.end()) {
      std::vector<std::string> names;
      names.reserve(request_.tools.size());
      for (const Tool* each : request_.tools) names.push_back(each->spec().name);
      return std::unexpected(
          fmt::format("there is no tool '{}'; there are: {}", call.name, fmt::join(names, ", ")));
    }
    const std::string text = call.arguments.empty() ? "{}" : call.arguments;
    if (auto checked = check_json(text); !checked)
      return std::unexpected("the arguments are not JSON: " + checked.error().message());
    const Json arguments = parse_json(text);
    if (!arguments.is_object()) return std::unexpected("the arguments must be a JSON object");
    return (*tool)->call(arguments, {task_, action_deadline()});
  }

  std::optional<Outcome> over_budget(const LlmMessage* answer) const {
    const int64_t used = usage_.input_tokens + usage_.output_tokens;
    if (used > request_.tokens_max)
      return exceeded(fmt::format("used {} tokens of {}", used, request_.tokens_max), answer);
    if (request_.time_max && spent_ > *request_.time_max)
      return exceeded(fmt::format("took {} of {}", to_text(spent_), to_text(*request_.time_max)),
                      answer);
    return std::nullopt;
  }

  // A call that ended because the budget of seconds did.
  std::optional<Outcome> over_time(const LlmError& error) const {
    if (!request_.time_max || error.code() != Errc::timeout || !asked_until_.passed())
      return std::nullopt;
    return exceeded(fmt::format("{} passed: {}", to_text(*request_.time_max), error.message()),
                    nullptr);
  }

  Outcome exceeded(const std::string& what, const LlmMessage* answer) const {
    return Outcome::fail({kBudgetExceeded, "the agent's budget is used up: " + what,
                          answer != nullptr && answer->tool_calls.empty() ? answer->text : ""},
                         false);
  }

  void report(const std::string& doing) {
    task_.progress(Json{{"step", turn_},
                        {"max_steps", request_.steps_max},
                        {"doing", to_valid_utf8(doing)},
                        {"tokens", usage_.input_tokens + usage_.output_tokens}}
                       .dump());
  }

  Outcome completed(const LlmResponse& last) const {
    return Outcome::complete(Json{
        {"answer", last.message.text},
        {"provider", client_.provider()},
        {"model", last.model.empty() ? request_.model : last.model},
        {"steps", turn_},
        {"finish_reason", last.finish_reason},
        {"usage", {{"input_tokens", usage_.input_tokens}, {"output_tokens", usage_.output_tokens}}},
        {"tool_calls",
         tool_calls_}}.dump(-1, ' ', false, Json::error_handler_t::replace));
  }

  TaskContext& task_;
  const AgentOptions& options_;
  const AgentRequest& request_;
  LlmClient& client_;
  LlmRequest conversation_;
  size_t sent_ = 0;  // messages that earlier steps have in their requests or answers
  Deadline asked_until_ = Deadline::never();  // of the last question to the model
  int turn_ = 0;
  LlmUsage usage_;
  Duration spent_{0};  // by the journal, hence the same in a replay
  Json tool_calls_ = Json::array();
};

class AgentActor final : public Actor {
 public:
  explicit AgentActor(AgentOptions options) : options_(std::move(options)) {}

  Outcome run(TaskContext& task) override {
    const auto request = read_agent_request(task.input(), options_);
    if (!request)
      return Outcome::fail({error_kind::kInvalidInput, request.error().message(), {}}, false);
    return AgentRun(task, options_, *request).run();
  }

 private:
  const AgentOptions options_;
};

}  // namespace

std::unique_ptr<Actor> make_agent_actor(AgentOptions options) {
  return std::make_unique<AgentActor>(std::move(options));
}

}  // namespace opscore
