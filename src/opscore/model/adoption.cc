#include "opscore/model/adoption.h"

#include "opscore/model/stored_json.h"

namespace opscore {
namespace {

constexpr char kAboutAnEnd[] = R"({"about":"task_end"})";

bool is_failure(AttemptEnd end) {
  return end == AttemptEnd::error || end == AttemptEnd::fatal || end == AttemptEnd::timeout ||
         end == AttemptEnd::lost || end == AttemptEnd::crashed;
}

State read_state(JsonReader& in) {
  const std::string word = in.string();
  const auto state = state_from(word);
  if (!state) in.fail(Errc::corrupt, fmt::format("'{}' is no state", word));
  return *state;
}

}  // namespace

std::optional<OutboxRow> adopted_row(const Plan& plan) {
  if (!plan.adopted || plan.next == State::cancelled) return std::nullopt;
  const bool failed =
      plan.ended && is_failure(*plan.ended) && (plan.charged || plan.next == State::failed);
  const bool completed = plan.next == State::completed;
  const bool with_results = (plan.adopted->result && (completed || plan.next == State::failed)) ||
                            (plan.adopted->group && completed);
  const bool told = with_results || (plan.next == State::failed && !plan.adopted->over_http) ||
                    (completed && plan.adopted->on_success) || (failed && plan.adopted->on_failure);
  if (!told) return std::nullopt;
  ObjectWriter body;
  body.number("task", plan.key.value);
  body.number("attempt", plan.attempt);
  body.number("charged", plan.live.charged);
  body.text("next", to_string(plan.next));
  if (failed) body.json("failed", "true");
  if (failed && plan.next == State::failed && plan.ended != AttemptEnd::fatal &&
      plan.live.budget != kUnlimitedAttempts && plan.live.charged >= plan.live.budget)
    body.json("exhausted", "true");
  std::string destination = plan.adopted->queue;
  if (plan.adopted->over_http) destination += kOverHttp;
  if (with_results) destination += kWithResults;
  return OutboxRow{0,           OutboxRow::Kind::amqp, std::move(destination),
                   body.take(), kAboutAnEnd,           plan.at};
}

bool is_adopted_row(const OutboxRow& row) {
  return row.kind == OutboxRow::Kind::amqp && row.properties == kAboutAnEnd;
}

AdoptedEnd decode_adopted_row(const OutboxRow& row) {
  AdoptedEnd end;
  read_stored("row about an adopted task", row.body, [&](JsonReader& in, std::string_view name) {
    if (name == "task")
      end.task = TaskKey{in.integer()};
    else if (name == "attempt")
      end.attempt = read_int(in);
    else if (name == "charged")
      end.charged = read_int(in);
    else if (name == "next")
      end.next = read_state(in);
    else if (name == "failed")
      end.failed = in.boolean();
    else if (name == "exhausted")
      end.exhausted = in.boolean();
    else
      in.raw();
  });
  return end;
}

}  // namespace opscore
