#include "opscore/engine/adoption.h"

#include <gmock/gmock.h>

#include "opscore/base/json.h"
#include "opscore/broker/dramatiq/golden_fixture.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

// A message on `queue` whose body can be built up.
struct Body {
  DramatiqMessage message;
  Body() {
    message.queue_name = "default";
    message.actor_name = "add";
    message.args = "[1,2]";
    message.message_id = "m-1";
    message.message_timestamp = "1000000";
  }
  Body& with(const std::string& option, const std::string& value) {
    message.options.set(option, value);
    return *this;
  }
  Body& kwargs(const std::string& text) {
    message.kwargs = text;
    return *this;
  }
  Body& args(const std::string& text) {
    message.args = text;
    return *this;
  }
  Body& actor(const std::string& name) {
    message.actor_name = name;
    return *this;
  }
};

Body of_group() {
  return Body().with("group_completion_uuid", "\"u\"").with("group_completion_callbacks", "[{}]");
}

struct AdoptionTest : testing::Test {
  AdoptionTest() {
    for (const char* type : {"add", "tuned", "agent_task", "outside"}) actors[type].type = type;
    actors["tuned"].max_attempts = 3;
    actors["tuned"].retry = RetryPolicy{1s, 10s, 3, 0, 1};
    actors["tuned"].timeout = 90s;
    actors["agent_task"].kind = "agent";
    actors["outside"].kind = "dramatiq";
    context.now = from_ms(2'000'000);
    context.fresh_id = "fresh";
    context.input_bytes_max = 1000;
    context.find_actor = [this](const std::string& name) -> const CatalogueEntry* {
      auto found = actors.find(name);
      return found == actors.end() ? nullptr : &found->second;
    };
  }
  static ForeignDelivery delivery(const std::string& body, const std::string& queue = "default") {
    return {1, queue, body, body.size(), {}, false};
  }
  Adoption decide(const std::string& body, const std::string& queue = "default") {
    return decide_adoption(delivery(body, queue), context);
  }
  Adoption decide(const Body& body) { return decide(encode_dramatiq(body.message)); }
  TaskSpec spec(const Body& body) {
    Adoption adoption = decide(body);
    EXPECT_EQ(adoption.kind, Adoption::Kind::adopt) << adoption.reason;
    return adoption.item.spec;
  }
  std::string refusal(const Body& body) {
    Adoption adoption = decide(body);
    EXPECT_EQ(adoption.kind, Adoption::Kind::refuse);
    return adoption.reason;
  }

  std::map<std::string, CatalogueEntry> actors;
  AdoptionContext context;
};

TEST_F(AdoptionTest, AMessageBecomesATask) {
  const std::string body = encode_dramatiq(Body().message);
  InsertItem item = decide(body).item;
  EXPECT_EQ(item.spec.type, "add");
  EXPECT_EQ(item.spec.queue, "default");
  EXPECT_EQ(item.spec.input, R"({"args":[1,2],"kwargs":{}})");
  EXPECT_EQ(item.message_id, "m-1");
  EXPECT_EQ(item.origin, body);
  EXPECT_EQ(item.on_conflict, InsertItem::OnConflict::derive_id);
  ASSERT_EQ(item.keys.size(), 1u);
  EXPECT_EQ(item.keys[0].kind, UniqueKey::Kind::message_id);
  EXPECT_EQ(item.spec.options.adopted, (Adopted{"default", false, false, ""}));
  EXPECT_EQ(item.spec.options.metadata, R"({"dramatiq_message_id":"m-1"})");
}

TEST_F(AdoptionTest, AnActorInPythonGetsTheOptions) {
  actors["add"].kind = "python";
  Body body;
  body.message.options.set("trace", R"({"id":NaN})");
  body.message.options.set("pipe_target", "{}");
  body.message.message_timestamp = "1700000000000";
  EXPECT_EQ(spec(body).options.metadata,
            R"({"dramatiq_message_id":"m-1","dramatiq_options":{"trace":{"id":null}},)"
            R"("dramatiq_message_timestamp":1700000000000})");
  body.message.options.set("trace", quote_python(std::string(70'000, 'x')));
  EXPECT_THAT(refusal(body), HasSubstr("its options are"));
}

TEST_F(AdoptionTest, OverHttpTheTaskHasTheMessagesIdUnlessItWantsAnother) {
  context.over_http = true;
  Body body;
  InsertItem item = decide(body).item;
  EXPECT_EQ(item.spec.options.id, "m-1");
  ASSERT_EQ(item.keys.size(), 2u);
  EXPECT_EQ(item.keys[1].key, "m-1");
  EXPECT_TRUE(item.spec.options.adopted->over_http);
  body.message.kwargs = R"({"task_id":"mine"})";
  EXPECT_EQ(spec(body).options.id, "mine");
  body.message.kwargs = R"({"task_id":"not an id"})";
  EXPECT_EQ(spec(body).options.id, "m-1");
  EXPECT_THAT(spec(body).options.metadata, HasSubstr(R"("dramatiq_task_id":"not an id")"));
  body.message.message_id = "no id either";
  EXPECT_EQ(spec(body).options.id, "");
}

TEST_F(AdoptionTest, OverHttpResultsNeedNoBackendAndGroupsDo) {
  context.over_http = true;
  Body body;
  body.message.options.set("store_results", "true");
  EXPECT_FALSE(spec(body).options.adopted->result);
  context.has_results = true;
  EXPECT_TRUE(spec(body).options.adopted->result);
  context.has_results = false;
  body.message.options.set("group_completion_uuid", R"("g")");
  body.message.options.set("group_completion_callbacks", "[{}]");
  EXPECT_THAT(refusal(body), HasSubstr("results.url"));
}

TEST_F(AdoptionTest, OverHttpQueueAndIdHaveToBeUsable) {
  context.over_http = true;
  Body body;
  body.message.queue_name = "no name";
  EXPECT_THAT(refusal(body), HasSubstr("queue_name 'no name'"));
  body = {};
  body.message.message_id = "";
  context.fresh_id = "";
  EXPECT_THAT(refusal(body), HasSubstr("message_id"));
}

TEST_F(AdoptionTest, OverHttpPythonsActorsGetTheirMessagesOptions) {
  context.over_http = true;
  actors["add"].kind = "dramatiq";
  actors["add"].dramatiq = R"({"custom":1,"time_limit":5})";
  Body body;
  body.message.options.set("eta", "5000");
  body.message.options.set("time_limit", "7");
  body.message.options.set("on_success", R"("other")");
  TaskSpec task = spec(body);
  EXPECT_EQ(task.options.dramatiq, R"({"custom":1,"time_limit":7,"on_success":"other"})");
  EXPECT_EQ(task.run_at, from_ms(5000));
  EXPECT_EQ(task.max_attempts, kUnlimitedAttempts);
  EXPECT_FALSE(task.options.adopted);
}

TEST_F(AdoptionTest, DefaultsAreDramatiqs) {
  TaskSpec task = spec(Body());
  EXPECT_EQ(task.max_attempts, 21);
  EXPECT_EQ(task.options.retry, (RetryPolicy{30s, 7 * 24h, 2, 0.5, 1}));
  EXPECT_EQ(task.options.timeout, 10min);
  EXPECT_EQ(task.options.deadline, std::nullopt);
  EXPECT_EQ(task.run_at, std::nullopt);
  EXPECT_EQ(task.priority, 0);
}

TEST_F(AdoptionTest, WhatIsDeclaredHereWinsOverThem) {
  TaskSpec task = spec(Body().actor("tuned"));
  EXPECT_EQ(task.max_attempts, 3);
  EXPECT_EQ(task.options.retry, (RetryPolicy{1s, 10s, 3, 0, 1}));
  EXPECT_EQ(task.options.timeout, 90s);
}

TEST_F(AdoptionTest, TheMessageWinsOverBoth) {
  TaskSpec task = spec(Body()
                           .actor("tuned")
                           .with("max_retries", "7")
                           .with("min_backoff", "100")
                           .with("max_backoff", "5000")
                           .with("time_limit", "1500.5")
                           .with("max_age", "60000")
                           .with("broker_priority", "5")
                           .with("eta", "3000000"));
  EXPECT_EQ(task.max_attempts, 8);
  EXPECT_EQ(task.options.retry, (RetryPolicy{200ms, 5s, 2, 0.5, 1}));
  EXPECT_EQ(task.options.timeout, 1500ms);
  EXPECT_EQ(task.options.deadline, from_ms(1'060'000));
  EXPECT_EQ(task.priority, 5);
  EXPECT_EQ(task.run_at, from_ms(3'000'000));
}

TEST_F(AdoptionTest, NoLimitOfRetries) {
  EXPECT_EQ(spec(Body().with("max_retries", "null")).max_attempts, kUnlimitedAttempts);
  EXPECT_EQ(spec(Body().actor("tuned").with("max_retries", "null")).max_attempts,
            kUnlimitedAttempts);
}

TEST_F(AdoptionTest, RetriesThatPythonHasMadeCount) {
  EXPECT_EQ(spec(Body().with("max_retries", "5").with("retries", "2")).max_attempts, 4);
  EXPECT_EQ(spec(Body().with("max_retries", "5").with("retries", "9")).max_attempts, 1);
  EXPECT_EQ(spec(Body().with("max_retries", "-3")).max_attempts, 1);
  EXPECT_EQ(spec(Body().with("max_retries", "1e300")).max_attempts, 21);
}

TEST_F(AdoptionTest, OptionsThatMakeNoSenseAreNoObstacle) {
  TaskSpec task = spec(Body()
                           .with("eta", "\"soon\"")
                           .with("time_limit", "Infinity")
                           .with("max_age", "NaN")
                           .with("min_backoff", "-5")
                           .with("max_backoff", "1e300")
                           .with("broker_priority", "1000"));
  EXPECT_EQ(task.run_at, std::nullopt);
  EXPECT_EQ(task.options.timeout, 30 * 24h);
  EXPECT_EQ(task.options.deadline, std::nullopt);
  EXPECT_EQ(task.options.retry, (RetryPolicy{0s, 7 * 24h, 2, 0.5, 1}));
  EXPECT_EQ(task.priority, 100);
  EXPECT_LE(to_ms(*spec(Body().with("eta", "1e300")).run_at), 253'402'300'799'000);
  EXPECT_EQ(spec(Body().with("eta", "null")).run_at, std::nullopt);
}

TEST_F(AdoptionTest, EveryGoldenMessageOfAKnownActorIsAdopted) {
  for (const char* name : {"echo", "boom", "once", "later", "send_email", "mul", "on_ok", "on_fail",
                           "exhausted", "ping", "done"})
    actors[name].type = name;
  for (const std::string& name : golden_names()) {
    const DramatiqMessage message = golden(name);
    Adoption adoption = decide(golden_body(name), message.queue_name);
    const bool needs_a_backend =
        message.options.find("group_completion_uuid") || message.options.find("store_results");
    EXPECT_EQ(adoption.kind, needs_a_backend ? Adoption::Kind::refuse : Adoption::Kind::adopt)
        << name << ": " << adoption.reason;
    if (adoption.kind == Adoption::Kind::adopt) {
      EXPECT_TRUE(check_json(adoption.item.spec.input)) << name;
      EXPECT_TRUE(check_json(adoption.item.spec.options.metadata)) << name;
    }
  }
}

TEST_F(AdoptionTest, ASendersOwnIdBecomesTheTasks) {
  Adoption adoption = decide(Body().kwargs(R"({"task_id":"order-7","x":1})"));
  EXPECT_EQ(adoption.item.spec.options.id, "order-7");
  EXPECT_EQ(adoption.item.keys.at(1).key, "order-7");
  EXPECT_EQ(adoption.item.spec.input, R"({"args":[1,2],"kwargs":{"task_id":"order-7","x":1}})");
}

TEST_F(AdoptionTest, AnIdThatCannotBeOneIsKeptInTheMetadata) {
  TaskSpec task = spec(Body().kwargs(R"({"task_id":"not an id!"})"));
  EXPECT_EQ(task.options.id, "");
  EXPECT_THAT(task.options.metadata, HasSubstr(R"("dramatiq_task_id":"not an id!")"));
  EXPECT_EQ(spec(Body().kwargs(R"({"task_id":42})")).options.id, "");
}

TEST_F(AdoptionTest, AgentTasks) {
  Adoption adoption =
      decide(Body()
                 .actor("execute_agent_task_actor")
                 .args("[]")
                 .kwargs(R"({"task_id":"t-1","goal":"Sum up","input_data":{"prompt":"x","n":1}})"));
  EXPECT_EQ(adoption.item.spec.type, "agent_task");
  EXPECT_EQ(adoption.item.spec.options.id, "t-1");
  EXPECT_EQ(adoption.item.spec.input, R"({"prompt":"x","n":1,"goal":"Sum up"})");
  EXPECT_EQ(
      spec(Body().actor("execute_agent_task_actor").args(R"(["t-2","Goal",{"k":[1]}])")).input,
      R"({"k":[1],"goal":"Goal"})");
  EXPECT_EQ(
      spec(Body().actor("agent_task").args("[]").kwargs(R"({"goal":"G","input_data":null})")).input,
      R"({"goal":"G"})");
}

TEST_F(AdoptionTest, AnApplicationsOwnAgentIsAnActorLikeOthers) {
  actors["execute_agent_task_actor"].type = "execute_agent_task_actor";
  const TaskSpec own =
      spec(Body().actor("execute_agent_task_actor").args("[]").kwargs(R"({"task_id":"t-1"})"));
  EXPECT_EQ(own.type, "execute_agent_task_actor");
  EXPECT_EQ(own.input, R"({"args":[],"kwargs":{"task_id":"t-1"}})");
  EXPECT_EQ(own.options.id, "t-1");
}

TEST_F(AdoptionTest, ActorsGetAStrictView) {
  TaskSpec task = spec(Body().args(R"([NaN,"\ud800",-Infinity])").kwargs(R"({"x":[Infinity]})"));
  EXPECT_EQ(task.input, R"({"args":[null,"\\ud800",null],"kwargs":{"x":[null]}})");
  EXPECT_EQ(parse_json(task.options.metadata).at("dramatiq_lossy"),
            (Json{"args[0]", "args[2]", "kwargs.x[0]"}));
}

TEST_F(AdoptionTest, WhatNobodyCouldRunIsRefused) {
  EXPECT_THAT(decide("not json").reason, HasSubstr("not JSON"));
  EXPECT_THAT(decide(encode_dramatiq(Body().message), "other").reason,
              HasSubstr("its queue_name is 'default', but it is on queue 'other'"));
  EXPECT_THAT(refusal(Body().args("[\"" + std::string(2000, 'x') + "\"]")),
              HasSubstr("at most 1000"));
  EXPECT_THAT(refusal(Body().args(std::string(200, '[') + std::string(200, ']'))),
              HasSubstr("too many levels"));
  EXPECT_THAT(refusal(Body().with("store_results", "true")), HasSubstr("no results backend"));
  EXPECT_THAT(refusal(of_group()), HasSubstr("no results backend"));
  ForeignDelivery cut = delivery("{}");
  cut.size = 20'000'000;
  EXPECT_THAT(decide_adoption(cut, context).reason, HasSubstr("20000000 bytes long"));
}

TEST_F(AdoptionTest, WithABackendItIsToldOfResultsAndGroups) {
  context.has_results = true;
  const Adopted result = *spec(Body().with("store_results", "true")).options.adopted;
  EXPECT_EQ(result, (Adopted{"default", false, false, "", true, false}));
  const Adopted group = *spec(of_group()).options.adopted;
  EXPECT_EQ(group, (Adopted{"default", false, false, "", false, true}));
  EXPECT_FALSE(spec(Body()).options.adopted->result);
}

TEST_F(AdoptionTest, TheMessageSaysWhetherItsResultIsStoredElseTheConfiguration) {
  context.has_results = true;
  context.stores_results = [](const std::string& actor) { return actor == "add"; };
  EXPECT_TRUE(spec(Body()).options.adopted->result);
  EXPECT_FALSE(spec(Body().actor("tuned")).options.adopted->result);
  EXPECT_TRUE(spec(Body().actor("tuned").with("store_results", "true")).options.adopted->result);
  EXPECT_FALSE(spec(Body().with("store_results", "false")).options.adopted->result);
}

TEST_F(AdoptionTest, AGroupWithoutCallbacksNeedsNoBackend) {
  EXPECT_FALSE(spec(Body().with("group_completion_uuid", "\"u\"")).options.adopted->group);
  EXPECT_FALSE(spec(of_group().with("group_completion_callbacks", "[]")).options.adopted->group);
}

TEST_F(AdoptionTest, ADelayedMessageMayBeOnEitherQueue) {
  const std::string delayed = golden_body("05_delayed");
  EXPECT_EQ(decide(delayed, "default.DQ").kind, Adoption::Kind::adopt);
  EXPECT_EQ(decide(delayed, "default").kind, Adoption::Kind::adopt);
  EXPECT_EQ(decide(golden_body("02_args"), "default.DQ").item.spec.queue, "default");
}

TEST_F(AdoptionTest, WhatItAsksToBeToldOf) {
  EXPECT_TRUE(spec(Body().with("on_success", "\"f\"")).options.adopted->on_success);
  EXPECT_TRUE(decide(golden_body("13_pipeline")).item.spec.options.adopted->on_success);
  EXPECT_TRUE(spec(Body().with("on_failure", "\"f\"")).options.adopted->on_failure);
  EXPECT_FALSE(spec(Body().with("on_failure", "null")).options.adopted->on_failure);
}

TEST_F(AdoptionTest, AMessageWithoutAnIdGetsOne) {
  Body body;
  body.message.message_id.clear();
  EXPECT_EQ(decide(body).item.message_id, "fresh");
}

TEST_F(AdoptionTest, EveryIdIsOneThatStoresCanKeep) {
  EXPECT_EQ(message_key(std::string("a\0b", 3)), "a\\u0000b");
  EXPECT_EQ(message_key("\xed\xa0\x80"), "\\ud800");
  EXPECT_THAT(message_key(std::string(1000, 'x')), testing::StartsWith("sha256:"));
}

TEST_F(AdoptionTest, WhatSomebodyElseRunsIsParked) {
  EXPECT_EQ(decide(Body().actor("unknown")).kind, Adoption::Kind::park);
  EXPECT_EQ(decide(Body().actor("outside")).kind, Adoption::Kind::park);
}

TEST(Hops, WaitsGrowAndTheOptionsCount) {
  DramatiqMessage message = Body().message;
  std::vector<Duration> waits;
  TimePoint now = from_ms(1'000'000);
  for (int i = 0; i < 6; ++i) {
    ForeignHop hop = decide_hop(message, false, now);
    EXPECT_EQ(hop.reason, "");
    waits.push_back(hop.wait);
    now += hop.wait;
    message = hop.message;
  }
  EXPECT_THAT(waits, ElementsAre(1s, 5s, 30s, 60s, 60s, 60s));
  EXPECT_EQ(integer_option(message.options, "opscore_hops"), 6);
}

TEST(Hops, ItIsDeadWhenNobodyWasSeenForTenMinutes) {
  ForeignHop hop = decide_hop(Body().message, false, from_ms(0));
  hop = decide_hop(hop.message, false, from_ms(600'000));
  EXPECT_THAT(hop.reason, HasSubstr("nobody runs actor 'add'"));
  EXPECT_EQ(hop.message, Body().message);
}

TEST(Hops, ItLivesOnWhenSomebodyWasSeenOnce) {
  ForeignHop hop = decide_hop(Body().message, true, from_ms(0));
  hop = decide_hop(hop.message, false, from_ms(86'400'000));
  EXPECT_EQ(hop.reason, "");
}

TEST(Hops, TracesOfOthersAreNoObstacle) {
  ForeignHop hop = decide_hop(Body().with("opscore_hops", "-7").message, false, from_ms(0));
  EXPECT_EQ(hop.wait, 1s);
  hop = decide_hop(Body().with("opscore_hops", "9e14").message, false, from_ms(0));
  EXPECT_EQ(hop.wait, 60s);
}

}  // namespace
}  // namespace opscore
