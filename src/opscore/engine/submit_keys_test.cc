// Idempotency keys, ids of the submitter's own, and batches.

#include <gmock/gmock.h>

#include "opscore/engine/service_fixture.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::SizeIs;

using SubmitKeysTest = ServiceTest;

SubmitRequest keyed() {
  SubmitRequest request;
  request.type = "mail.send";
  request.input = R"({"to": "ann"})";
  request.idempotency_key = "order-1";
  return request;
}

TEST_F(SubmitKeysTest, the_same_request_again_is_answered_with_the_first_task) {
  Submitted first = submit(keyed());
  EXPECT_FALSE(first.replayed);
  clock_.advance(1h);
  Submitted again = submit(keyed());
  EXPECT_TRUE(again.replayed);
  EXPECT_EQ(again.id, first.id);
  EXPECT_THAT(service_->list({}, "", 10).tasks, SizeIs(1));
}

TEST_F(SubmitKeysTest, a_key_with_a_nul_is_refused) {
  SubmitRequest request = keyed();
  request.idempotency_key += '\0';
  EXPECT_EQ(error_of([&] { submit(request); }).field(), "idempotency_key");
}

TEST_F(SubmitKeysTest, two_requests_that_clash_in_one_batch_name_no_task) {
  SubmitRequest other = keyed();
  other.input = "2";
  Error error =
      error_of([&] { service_->submit_many({keyed(), other}, InsertMode::all_or_nothing); });
  EXPECT_EQ(error.code(), Errc::conflict);
  EXPECT_THAT(error.message(), HasSubstr("another task of this request"));
}

TEST_F(SubmitKeysTest, a_replay_says_the_state_that_the_first_task_has_now) {
  submit(keyed());
  finish(claim(), Outcome::complete("1"));
  EXPECT_EQ(submit(keyed()).state, State::completed);
}

TEST_F(SubmitKeysTest, the_key_with_another_request_is_a_conflict_that_names_the_holder) {
  std::string holder = submit(keyed()).id;
  const std::vector<std::function<void(SubmitRequest&)>> changes = {
      [](SubmitRequest& r) { r.input = R"({"to":"ann"})"; },  // other bytes
      [](SubmitRequest& r) { r.queue = "other"; },
      [](SubmitRequest& r) { r.priority = 1; },
      [](SubmitRequest& r) { r.delay = 1s; },
      [this](SubmitRequest& r) { r.run_at = clock_.now() + 1s; },
      [](SubmitRequest& r) { r.max_attempts = 1; },
      [](SubmitRequest& r) { r.timeout = 1s; },
      [](SubmitRequest& r) { r.retry = RetryPolicy{.factor = 3}; },
      [](SubmitRequest& r) { r.deadline_in = 1h; },
      [](SubmitRequest& r) { r.labels = {{"a", "b"}}; },
      [](SubmitRequest& r) { r.name = "x"; },
      [](SubmitRequest& r) { r.metadata = "{}"; }};
  for (size_t i = 0; i < changes.size(); ++i) {
    SubmitRequest other = keyed();
    changes[i](other);
    Error error = refusal_of(other);
    EXPECT_EQ(error.code(), Errc::conflict) << i;
    EXPECT_EQ(error.field(), "idempotency_key") << i;
    EXPECT_THAT(error.what(), HasSubstr(holder)) << i;
    EXPECT_THAT(error.what(), HasSubstr("order-1")) << i;
  }
}

TEST_F(SubmitKeysTest, relative_times_replay_as_they_were_said) {
  SubmitRequest one = keyed();
  one.delay = 1min;
  one.deadline_in = 1h;
  std::string first = submit(one).id;
  clock_.advance(10s);
  EXPECT_EQ(submit(one).id, first);
}

TEST_F(SubmitKeysTest, the_order_of_labels_does_not_make_another_request) {
  SubmitRequest one = keyed();
  one.labels = {{"a", "1"}, {"b", "2"}};
  std::string first = submit(one).id;
  std::swap(one.labels[0], one.labels[1]);
  EXPECT_EQ(submit(one).id, first);
}

TEST_F(SubmitKeysTest, a_key_belongs_to_its_type) {
  submit(keyed());
  SubmitRequest other = keyed();
  other.type = "tuned";
  EXPECT_FALSE(submit(other).replayed);
}

TEST_F(SubmitKeysTest, deleting_the_task_frees_its_key) {
  std::string first = submit(keyed()).id;
  service_->remove(first);
  Submitted next = submit(keyed());
  EXPECT_FALSE(next.replayed);
  EXPECT_NE(next.id, first);
}

TEST_F(SubmitKeysTest, an_id_of_ones_own_names_the_task) {
  SubmitRequest one = request();
  one.task_id = "invoice:7";
  EXPECT_EQ(submit(one).id, "invoice:7");
  EXPECT_EQ(service_->get("invoice:7").options.id, "invoice:7");
  EXPECT_TRUE(submit(one).replayed);
  one.input = "1";
  Error error = refusal_of(one);
  EXPECT_EQ(error.code(), Errc::conflict);
  EXPECT_EQ(error.field(), "task_id");
  EXPECT_THAT(error.what(), HasSubstr("invoice:7"));
}

TEST_F(SubmitKeysTest, a_replay_by_key_answers_with_the_own_id_of_the_first) {
  SubmitRequest one = keyed();
  one.task_id = "mine";
  submit(one);
  EXPECT_EQ(submit(one).id, "mine");
}

TEST_F(SubmitKeysTest, a_batch_with_a_wrong_item_is_refused_as_a_whole) {
  std::vector<SubmitRequest> batch(3, request());
  batch[2].priority = 500;
  Error error = error_of([&] { service_->submit_many(batch, InsertMode::all_or_nothing); });
  EXPECT_EQ(error.field(), "tasks[2].priority");
  EXPECT_EQ(error.code(), Errc::invalid);
  EXPECT_THAT(error.what(), HasSubstr("tasks[2]"));
  EXPECT_THAT(service_->list({}, "", 10).tasks, SizeIs(0));
}

TEST_F(SubmitKeysTest, a_batch_with_a_conflict_is_refused_as_a_whole) {
  submit(keyed());
  std::vector<SubmitRequest> batch = {request(), keyed()};
  batch[1].input = "2";
  Error error = error_of([&] { service_->submit_many(batch, InsertMode::all_or_nothing); });
  EXPECT_EQ(error.code(), Errc::conflict);
  EXPECT_EQ(error.field(), "tasks[1].idempotency_key");
  EXPECT_THAT(service_->list({}, "", 10).tasks, SizeIs(1));
}

TEST_F(SubmitKeysTest, per_item_each_has_its_own_answer) {
  std::string holder = submit(keyed()).id;
  std::vector<SubmitRequest> batch = {request(), request("fax"), keyed(), keyed(), request()};
  batch[3].input = "2";
  auto answers = service_->submit_many(batch, InsertMode::per_item);
  ASSERT_THAT(answers, SizeIs(5));
  EXPECT_FALSE(answers[0].refused);
  ASSERT_TRUE(answers[1].refused);
  EXPECT_EQ(answers[1].refused->code(), Errc::invalid);
  EXPECT_TRUE(answers[2].replayed);
  EXPECT_EQ(answers[2].id, holder);
  ASSERT_TRUE(answers[3].refused);
  EXPECT_EQ(answers[3].refused->code(), Errc::conflict);
  EXPECT_NE(answers[4].id, answers[0].id);
  EXPECT_THAT(service_->list({}, "", 10).tasks, SizeIs(3));
}

TEST_F(SubmitKeysTest, one_key_twice_in_a_batch_makes_one_task) {
  auto answers = service_->submit_many({keyed(), keyed()}, InsertMode::all_or_nothing);
  EXPECT_EQ(answers[0].id, answers[1].id);
  EXPECT_TRUE(answers[1].replayed);
}

TEST_F(SubmitKeysTest, a_batch_has_a_limit) {
  EXPECT_THAT(
      service_->submit_many(std::vector<SubmitRequest>(10, request()), InsertMode::all_or_nothing),
      SizeIs(10));
  Error error = error_of([&] {
    service_->submit_many(std::vector<SubmitRequest>(11, request()), InsertMode::per_item);
  });
  EXPECT_EQ(error.code(), Errc::too_large);
}

}  // namespace
}  // namespace opscore
