#include "opscore/engine/diagnosis.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "opscore/model/limits.h"

namespace opscore {
namespace {

using testing::HasSubstr;

constexpr TimePoint kNow{Duration(1'750'000'000'000)};

Session worker(std::string queue, std::string type) {
  Session session;
  session.id = SessionId{1};
  session.name = "host:1";
  session.renewed_at = kNow - Duration(1000);
  session.report.state = "consuming";
  session.report.queues = {std::move(queue)};
  session.report.types = {std::move(type)};
  session.report.slots = 2;
  return session;
}

Facts pending() {
  Facts facts;
  facts.now = kNow;
  facts.task.type = "mail";
  facts.task.queue = "default";
  facts.task.live.state = State::pending;
  facts.queue = QueueStats{.name = "default", .pending = 1};
  facts.sessions = {worker("default", "mail")};
  return facts;
}

Facts running() {
  Facts facts = pending();
  facts.task.live.state = State::running;
  facts.task.live.attempt = 1;
  facts.task.live.session = SessionId{1};
  facts.task.live.claimed_at = kNow - Duration(5000);
  facts.task.started_at = kNow - Duration(5000);
  return facts;
}

TEST(Diagnosis, pending_and_all_is_well) {
  EXPECT_EQ(diagnose(pending()).verdict, Verdict::about_to_start);
}

TEST(Diagnosis, a_worker_of_every_queue_serves_this_one) {
  Facts facts = pending();
  facts.sessions = {worker("*", "mail")};
  EXPECT_EQ(diagnose(facts).verdict, Verdict::about_to_start);
}

TEST(Diagnosis, paused_comes_before_everything_behind_it) {
  Facts facts = pending();
  facts.queue->paused = true;
  facts.sessions.clear();
  EXPECT_EQ(diagnose(facts).verdict, Verdict::queue_paused);
  EXPECT_EQ(diagnose(facts).broken_hop, "queue");
}

TEST(Diagnosis, nobody_serves_the_queue) {
  Facts facts = pending();
  facts.sessions = {worker("other", "mail")};
  EXPECT_EQ(diagnose(facts).verdict, Verdict::no_worker);
}

TEST(Diagnosis, a_silent_session_does_not_count) {
  Facts facts = pending();
  facts.sessions[0].renewed_at = kNow - limits::kSessionTtl - Duration(1);
  EXPECT_EQ(diagnose(facts).verdict, Verdict::no_worker);
}

TEST(Diagnosis, nobody_has_the_actor) {
  Facts facts = pending();
  facts.sessions = {worker("default", "other")};
  EXPECT_EQ(diagnose(facts).verdict, Verdict::no_actor);
}

TEST(Diagnosis, a_limit_of_the_queue) {
  Facts facts = pending();
  facts.queue.emplace();
  facts.queue->limits.configured.concurrency = 2;
  facts.queue->running = 1;
  EXPECT_EQ(diagnose(facts).verdict, Verdict::about_to_start);
  facts.queue->running = 2;
  Diagnosis reached = diagnose(facts);
  EXPECT_EQ(reached.verdict, Verdict::limit_reached);
  EXPECT_EQ(reached.broken_hop, "queue");
  EXPECT_THAT(reached.sentence, HasSubstr("limit of 2 running on this worker reached"));
  facts.queue->limits.chosen.concurrency = 3;
  EXPECT_EQ(diagnose(facts).verdict, Verdict::about_to_start);
  facts.queue->limits.chosen.concurrency = 2;
  facts.sessions.push_back(facts.sessions[0]);
  EXPECT_EQ(diagnose(facts).verdict, Verdict::about_to_start) << "the other worker has room";
}

TEST(Diagnosis, a_limit_of_the_actor) {
  Facts facts = pending();
  facts.actor = CatalogueEntry{.type = "t", .kind = "exec", .concurrency = 1};
  EXPECT_EQ(diagnose(facts).verdict, Verdict::about_to_start);
  facts.actor_running = 1;
  EXPECT_EQ(diagnose(facts).verdict, Verdict::limit_reached);
  EXPECT_EQ(diagnose(facts).broken_hop, "slot");
  facts.actor->chosen_concurrency = kUnlimited;
  EXPECT_EQ(diagnose(facts).verdict, Verdict::about_to_start);
}

TEST(Diagnosis, all_slots_busy) {
  Facts facts = pending();
  facts.sessions[0].report.busy = 2;
  EXPECT_EQ(diagnose(facts).verdict, Verdict::slots_busy);
}

TEST(Diagnosis, without_a_server_nothing_can_take_it) {
  Facts facts = pending();
  facts.server_down = true;
  EXPECT_EQ(diagnose(facts).verdict, Verdict::server_down);
}

TEST(Diagnosis, a_suspect_waits_for_its_turn) {
  Facts facts = pending();
  facts.task.live.suspect = true;
  EXPECT_EQ(diagnose(facts).verdict, Verdict::suspect_waiting);
}

TEST(Diagnosis, scheduled_by_its_submitter) {
  Facts facts = pending();
  facts.task.live.state = State::scheduled;
  facts.task.live.run_at = kNow + Duration(60'000);
  EXPECT_EQ(diagnose(facts).verdict, Verdict::due_later);
}

TEST(Diagnosis, waiting_for_a_retry_names_the_last_error) {
  Facts facts = pending();
  facts.task.live.state = State::scheduled;
  facts.task.live.run_at = kNow + Duration(500);
  facts.attempts = {{.number = 1, .end = AttemptEnd::error, .error = {"boom", "no luck", ""}}};
  Diagnosis diagnosis = diagnose(facts);
  EXPECT_EQ(diagnosis.verdict, Verdict::waiting_for_retry);
  EXPECT_NE(diagnosis.sentence.find("no luck"), std::string::npos);
}

TEST(Diagnosis, what_is_maintenances_to_do_is_said_not_to_be_done_while_nobody_leads) {
  auto blames = [](const Facts& facts) {
    return diagnose(facts).sentence.find("no maintenance process leads since 2") !=
           std::string::npos;
  };
  Facts due = pending(), later = pending(), busy = pending(), lost = running();
  later.task.live.state = State::scheduled;
  later.task.live.run_at = kNow + Duration(60'000);
  busy.sessions[0].report.busy = 2;
  lost.sessions.clear();
  for (Facts* facts : {&due, &later, &busy, &lost}) {
    EXPECT_FALSE(blames(*facts));
    facts->unled_since = kNow - Duration(20'000);
  }
  EXPECT_TRUE(blames(due));
  EXPECT_TRUE(blames(later));
  EXPECT_TRUE(blames(lost));
  EXPECT_FALSE(blames(busy)) << "it waits for something else";
}

TEST(Diagnosis, who_leads_is_seen_from_the_sessions) {
  const Duration ttl = limits::kSessionTtl;
  std::vector<Session> sessions = {worker("default", "mail")};
  sessions[0].started_at = kNow - ttl;
  EXPECT_EQ(unled_since({}, kNow), std::nullopt) << "nobody was there to know";
  EXPECT_EQ(unled_since(sessions, kNow), std::nullopt) << "one may come yet";
  sessions[0].started_at -= Duration(1);
  EXPECT_EQ(unled_since(sessions, kNow), sessions[0].started_at);

  Session leader = worker("*", "");
  leader.report.loops[kMaintenanceLoop] = kNow - ttl;
  sessions.push_back(leader);
  EXPECT_EQ(unled_since(sessions, kNow), std::nullopt);
  sessions[1].report.loops[kMaintenanceLoop] -= Duration(1);
  EXPECT_EQ(unled_since(sessions, kNow), kNow - ttl - Duration(1));
  sessions[1].ended_at = kNow;
  EXPECT_EQ(unled_since(sessions, kNow), kNow - ttl - Duration(1)) << "it has ended since";
}

TEST(Diagnosis, what_is_due_is_as_good_as_pending) {
  Facts facts = pending();
  facts.task.live.state = State::scheduled;
  facts.task.live.run_at = kNow;
  EXPECT_EQ(diagnose(facts).verdict, Verdict::about_to_start);
  facts.server_down = true;
  EXPECT_EQ(diagnose(facts).verdict, Verdict::server_down);
}

TEST(Diagnosis, snoozed_is_not_a_failure) {
  Facts facts = pending();
  facts.task.live.state = State::scheduled;
  facts.task.live.run_at = kNow + Duration(500);
  facts.attempts = {{.number = 1, .end = AttemptEnd::snoozed}};
  EXPECT_EQ(diagnose(facts).verdict, Verdict::snoozed);
}

TEST(Diagnosis, running_on_a_live_session) {
  EXPECT_EQ(diagnose(running()).verdict, Verdict::running);
}

TEST(Diagnosis, its_session_is_gone) {
  Facts facts = running();
  facts.sessions[0].ended_at = kNow - Duration(1);
  EXPECT_EQ(diagnose(facts).verdict, Verdict::lease_lost);
  facts.sessions.clear();
  EXPECT_EQ(diagnose(facts).verdict, Verdict::lease_lost);
}

TEST(Diagnosis, claimed_but_not_started) {
  Facts facts = running();
  facts.task.started_at.reset();
  EXPECT_EQ(diagnose(facts).verdict, Verdict::not_started);
}

TEST(Diagnosis, asked_to_stop) {
  Facts facts = running();
  facts.task.live.cancel_requested = true;
  EXPECT_EQ(diagnose(facts).verdict, Verdict::stopping);
}

TEST(Diagnosis, ended) {
  Facts facts = pending();
  facts.task.live.state = State::completed;
  EXPECT_EQ(diagnose(facts).verdict, Verdict::completed);
  facts.task.live.state = State::cancelled;
  EXPECT_EQ(diagnose(facts).verdict, Verdict::cancelled);
  facts.task.live.state = State::failed;
  facts.task.error = {"boom", "no luck", ""};
  EXPECT_EQ(diagnose(facts).verdict, Verdict::failed);
  EXPECT_EQ(diagnose(facts).broken_hop, "attempt");
}

Facts handed_over() {
  Facts facts = pending();
  facts.sessions.clear();
  facts.task.live.external_until = kNow + limits::kExternalDoubt;
  facts.handed_over_at = kNow - Duration(5000);
  return facts;
}

TEST(Diagnosis, a_message_that_nobody_has_reported) {
  Diagnosis diagnosis = diagnose(handed_over());
  EXPECT_EQ(diagnosis.verdict, Verdict::handed_to_dramatiq);
  EXPECT_THAT(diagnosis.sentence, HasSubstr("handed_to_dramatiq"));
  EXPECT_THAT(diagnosis.sentence, HasSubstr("pip install opscore"));
}

TEST(Diagnosis, a_message_on_a_queue_without_a_consumer) {
  Facts facts = handed_over();
  facts.broker.emplace().queues = {{"default", 1, 0, std::nullopt}};
  Diagnosis diagnosis = diagnose(facts);
  EXPECT_EQ(diagnosis.verdict, Verdict::unconsumed);
  EXPECT_EQ(diagnosis.broken_hop, "broker");
  EXPECT_THAT(diagnosis.sentence, HasSubstr(to_rfc3339(*facts.handed_over_at)));
}

TEST(Diagnosis, a_message_that_a_consumer_holds) {
  Facts facts = handed_over();
  facts.broker.emplace().queues = {{"default", 0, 1, 3}};
  Diagnosis diagnosis = diagnose(facts);
  EXPECT_EQ(diagnosis.verdict, Verdict::held);
  EXPECT_EQ(diagnosis.broken_hop, "broker");
  EXPECT_THAT(diagnosis.sentence, HasSubstr("hold 3 messages"));
  facts.broker->queues[0].unacked.reset();  // nobody can tell
  EXPECT_EQ(diagnose(facts).verdict, Verdict::handed_to_dramatiq);
  facts.broker->queues[0].unacked = 3;
  facts.broker->queues[0].ready = 1;  // it may be this one
  EXPECT_EQ(diagnose(facts).verdict, Verdict::handed_to_dramatiq);
  facts.broker->queues.clear();
  EXPECT_EQ(diagnose(facts).verdict, Verdict::handed_to_dramatiq);
}

TEST(Diagnosis, a_message_that_was_not_sent) {
  Facts facts = handed_over();
  facts.handed_over_at.reset();
  EXPECT_EQ(diagnose(facts).verdict, Verdict::not_handed_over);
  EXPECT_THAT(diagnose(facts).sentence, HasSubstr("RABBITMQ_URL"));
  facts.sessions = {worker("other", "other")};
  facts.sessions[0].report.dramatiq.emplace().problem = "connection refused";
  EXPECT_THAT(diagnose(facts).sentence, HasSubstr("connection refused"));
  facts.sessions[0].report.dramatiq = SessionReport::Broker{};
  facts.sessions[0].report.dramatiq->refused["default"] = "queue 'default': other arguments";
  EXPECT_THAT(diagnose(facts).sentence, HasSubstr("other arguments"));
  facts.queue->paused = true;
  EXPECT_EQ(diagnose(facts).verdict, Verdict::queue_paused);
}

TEST(Diagnosis, a_python_worker_runs_it) {
  Facts facts = handed_over();
  facts.task.live.state = State::running;
  facts.picked_up_by = "web:7";
  EXPECT_EQ(diagnose(facts).verdict, Verdict::running);
  EXPECT_THAT(diagnose(facts).sentence, HasSubstr("Python worker web:7"));
  facts.now += std::chrono::minutes(6);
  EXPECT_EQ(diagnose(facts).verdict, Verdict::unheard);
}

TEST(Diagnosis, a_message_that_waits_for_its_eta) {
  Facts facts = handed_over();
  facts.task.live.state = State::scheduled;
  facts.task.live.run_at = kNow + Duration(60'000);
  EXPECT_EQ(diagnose(facts).verdict, Verdict::due_later);
}

}  // namespace
}  // namespace opscore
