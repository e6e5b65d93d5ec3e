// What clients do with tasks that are there, queues, and readiness.

#include "opscore/engine/service.h"

#include <gmock/gmock.h>

#include "opscore/engine/service_fixture.h"
#include "opscore/store/intercepted_store.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

struct ServiceVerbs : ServiceTest {
  // One task in each state, and its id.
  std::string task_in(State state) {
    switch (state) {
      case State::scheduled: {
        SubmitRequest later = request();
        later.delay = 1h;
        return submit(later).id;
      }
      case State::waiting: {
        InsertItem item;
        item.spec.type = "mail.send";
        item.spec.waiting = true;
        auto key = store_->tasks().insert({item}, InsertMode::all_or_nothing)[0].key;
        return store_->ids().encode(key);
      }
      case State::pending:
        return submit().id;
      case State::running: {
        std::string id = submit().id;
        claim();
        return id;
      }
      case State::completed:
        return ended(Outcome::complete("1"));
      case State::failed:
        return ended(Outcome::fail({"boom", "no luck", {}}, false));
      case State::cancelled: {
        std::string id = submit().id;
        service_->cancel(id);
        return id;
      }
    }
    return {};
  }

  static std::vector<std::string> kinds(const std::vector<TaskEvent>& events) {
    std::vector<std::string> words;
    for (const TaskEvent& event : events) words.push_back(event.kind);
    return words;
  }
};

TEST_F(ServiceVerbs, what_is_not_there_is_not_found) {
  for (const std::string& id : {std::string("nope"), std::string("task_x"), std::string()}) {
    EXPECT_EQ(error_of([&] { service_->get(id); }).code(), Errc::not_found);
    EXPECT_EQ(error_of([&] { service_->cancel(id); }).code(), Errc::not_found);
    EXPECT_EQ(error_of([&] { service_->retry(id, {}); }).code(), Errc::not_found);
    EXPECT_EQ(error_of([&] { service_->remove(id); }).code(), Errc::not_found);
  }
}

TEST_F(ServiceVerbs, cancel_ends_what_does_not_run) {
  for (State state : {State::scheduled, State::waiting, State::pending}) {
    Task task = service_->cancel(task_in(state));
    EXPECT_EQ(task.state(), State::cancelled) << to_string(state);
    EXPECT_EQ(task.error.kind, "cancelled");
    EXPECT_EQ(task.finished_at, clock_.now());
  }
}

TEST_F(ServiceVerbs, cancel_asks_what_runs_to_stop) {
  std::string id = task_in(State::running);
  for (int twice = 0; twice < 2; ++twice) {
    Task task = service_->cancel(id);
    EXPECT_EQ(task.state(), State::running);
    EXPECT_TRUE(task.live.cancel_requested);
  }
}

TEST_F(ServiceVerbs, cancel_of_what_ended_is_a_conflict_that_says_how) {
  for (State state : {State::completed, State::failed, State::cancelled}) {
    std::string id = task_in(state);
    Error error = error_of([&] { service_->cancel(id); });
    EXPECT_EQ(error.code(), Errc::conflict);
    EXPECT_THAT(error.what(), HasSubstr(id));
    EXPECT_THAT(error.what(), HasSubstr(std::string(to_string(state))));
  }
}

TEST_F(ServiceVerbs, retry_makes_what_ended_pending_with_a_fresh_budget) {
  for (State state : {State::completed, State::failed, State::cancelled}) {
    std::string id = task_in(state);
    Task before = service_->get(id);
    Task task = service_->retry(id, {});
    EXPECT_EQ(task.state(), State::pending) << to_string(state);
    EXPECT_EQ(task.live.attempt, before.live.attempt);
    EXPECT_EQ(task.live.budget, before.live.charged + limits::kMaxAttempts);
    service_->remove(id);
  }
}

TEST_F(ServiceVerbs, retry_of_what_has_not_ended_is_a_conflict_that_says_so) {
  for (State state : {State::running, State::scheduled, State::waiting, State::pending}) {
    std::string id = task_in(state);
    Error error = error_of([&] { service_->retry(id, {}); });
    EXPECT_EQ(error.code(), Errc::conflict);
    EXPECT_THAT(error.what(), HasSubstr(std::string(to_string(state))));
  }
}

TEST_F(ServiceVerbs, retry_with_an_edited_input_keeps_both) {
  std::string id = task_in(State::failed);
  Task task = service_->retry(id, R"({"fixed": true})");
  EXPECT_EQ(task.input, R"({"fixed": true})");
  EXPECT_THAT(service_->inputs(task), ElementsAre("null", R"({"fixed": true})"));
}

TEST_F(ServiceVerbs, an_edited_input_is_checked_like_a_submitted_one) {
  SubmitRequest strict = request("strict");
  strict.input = R"({"to": {}})";
  std::string id = submit(strict).id;
  finish(claim(), Outcome::fail({"boom", "", {}}, false));
  EXPECT_EQ(error_of([&] { service_->retry(id, R"({"to": 1})"); }).field(), "input_data.to");
  Error error = error_of([&] { service_->retry(id, '"' + std::string(999, 'x') + '"'); });
  EXPECT_EQ(error.code(), Errc::too_large);
  EXPECT_EQ(service_->get(id).state(), State::failed);
}

TEST_F(ServiceVerbs, remove_deletes_everything_but_what_runs) {
  for (int i = 0; i < kStateCount; ++i) {
    State state = static_cast<State>(i);
    std::string id = task_in(state);
    if (state == State::running) {
      Error error = error_of([&] { service_->remove(id); });
      EXPECT_EQ(error.code(), Errc::conflict);
      EXPECT_THAT(error.what(), HasSubstr("running"));
    } else {
      service_->remove(id);
      EXPECT_EQ(error_of([&] { service_->get(id); }).code(), Errc::not_found) << i;
    }
  }
}

TEST_F(ServiceVerbs, a_cursor_goes_on_where_the_page_ended) {
  std::vector<std::string> ids;
  for (int i = 0; i < 5; ++i) ids.insert(ids.begin(), submit().id);
  std::vector<std::string> seen;
  std::string cursor;
  do {
    TaskPage page = service_->list({}, cursor, 2);
    for (const Task& task : page.tasks) seen.push_back(service_->id_of(task));
    cursor = page.next ? service_->cursor_of(*page.next) : "";
  } while (!cursor.empty());
  EXPECT_EQ(seen, ids);
}

TEST_F(ServiceVerbs, what_is_no_cursor_is_refused) {
  for (int i = 0; i < 3; ++i) submit();
  std::string cut_short = service_->cursor_of(*service_->list({}, "", 2).next);
  cut_short.pop_back();
  for (std::string cursor : {"!", "-5", "0", "12 ", "zzzzzzzzzzzzzzzzzzzzzz", cut_short.c_str()})
    EXPECT_EQ(error_of([&] { service_->list({}, cursor, 2); }).field(), "cursor") << cursor;
}

TEST_F(ServiceVerbs, queues_say_their_oldest_and_who_serves_them) {
  submit();
  clock_.advance(3s);
  submit();
  SubmitRequest other = request("tuned");
  other.delay = 1h;
  submit(other);
  report({"default"}, 4);
  QueueView view = service_->queue("default");
  EXPECT_EQ(view.stats.pending, 2);
  EXPECT_EQ(view.oldest_pending_age, Duration(3s));
  EXPECT_EQ(view.sessions, 1);
  EXPECT_EQ(view.slots, 4);
  QueueView slow = service_->queue("slow");
  EXPECT_EQ(slow.stats.scheduled, 1);
  EXPECT_EQ(slow.oldest_pending_age, std::nullopt);
  EXPECT_EQ(slow.sessions, 0);
  report({"*"}, 8);
  EXPECT_EQ(service_->queue("slow").slots, 8);
  clock_.advance(limits::kSessionTtl + 1ms);
  EXPECT_EQ(service_->queue("slow").sessions, 0);
  EXPECT_EQ(error_of([&] { service_->queue("nope"); }).code(), Errc::not_found);
}

TEST_F(ServiceVerbs, a_paused_queue_is_not_claimed_from_until_it_is_resumed) {
  std::string id = submit().id;
  service_->set_paused("default", true);
  EXPECT_TRUE(service_->queue("default").stats.paused);
  EXPECT_THROW(claim(), Error);
  EXPECT_THAT(service_->reason(service_->get(id)), HasSubstr("paused"));
  service_->set_paused("default", false);
  EXPECT_EQ(claim().type, "mail.send");
  EXPECT_EQ(error_of([&] { service_->set_paused("a b", true); }).field(), "queue");
}

TEST_F(ServiceVerbs, purge_deletes_what_has_not_ended_and_does_not_run) {
  std::string running = task_in(State::running);
  std::string scheduled = task_in(State::scheduled);
  std::vector<std::string> pending = {task_in(State::pending), task_in(State::pending)};
  EXPECT_EQ(service_->purge("default").counts.done, 3);
  EXPECT_EQ(service_->get(running).state(), State::running);
  for (const std::string& id : {scheduled, pending[0], pending[1]})
    EXPECT_EQ(error_of([&] { service_->get(id); }).code(), Errc::not_found);
  EXPECT_EQ(service_->purge("default").counts.done, 0);
  EXPECT_EQ(error_of([&] { service_->purge("nope"); }).code(), Errc::not_found);
}

TEST_F(ServiceVerbs, purge_works_off_more_than_one_step) {
  for (int i = 0; i < 250; ++i)
    service_->submit_many(std::vector<SubmitRequest>(10, request()), InsertMode::all_or_nothing);
  EXPECT_EQ(service_->purge("default").counts.done, 2500);
}

TEST_F(ServiceVerbs, trouble_with_the_broker_is_a_reason_and_keeps_it_ready) {
  SessionReport trouble;
  trouble.state = "consuming";
  trouble.broker = SessionReport::Broker{
      "amqp://mq:5672/%2F", "connection refused", "low on memory", {{"mail", "queue 'mail': 406"}}};
  SessionId worker = store_->fleet().open_session("host:1", "{}");
  store_->fleet().renew(worker, trouble);
  EXPECT_TRUE(service_->readiness().ready);
  EXPECT_THAT(service_->readiness().reasons,
              ElementsAre(HasSubstr("connection refused"), HasSubstr("low on memory"),
                          HasSubstr("refuses queue 'mail': 406")));
}

TEST_F(ServiceVerbs, it_is_ready_while_a_live_session_consumes) {
  EXPECT_FALSE(service_->readiness().ready);
  report({"default"}, 4, "connecting");
  EXPECT_THAT(service_->readiness().reasons, ElementsAre(HasSubstr("consuming")));
  report({"default"});
  EXPECT_TRUE(service_->readiness().ready);
  EXPECT_THAT(service_->readiness().reasons, IsEmpty());
  clock_.advance(limits::kSessionTtl + 1ms);
  EXPECT_FALSE(service_->readiness().ready);
}

TEST_F(ServiceVerbs, it_is_not_ready_while_every_submit_would_be_refused) {
  bool is_full = true;
  auto store = intercept(open_memory_store(clock_, random_),
                         [&](std::string_view operation, const std::function<void()>& call) {
                           if (operation == "check_room" && is_full)
                             throw Error(Errc::disk_low, "insert: only 3 MiB are free");
                           call();
                         });
  Metrics metrics;
  ServiceOptions options;
  options.needs_worker = false;
  Service service(*store, clock_, *log_, metrics, options);
  EXPECT_FALSE(service.readiness().ready);
  EXPECT_THAT(service.readiness().reasons, Contains(HasSubstr("only 3 MiB are free")));
  is_full = false;
  EXPECT_TRUE(service.readiness().ready);
}

TEST_F(ServiceVerbs, without_a_worker_of_its_own_it_is_ready_while_the_store_answers) {
  bool away = false;
  auto store = inject_faults(open_memory_store(clock_, random_), random_,
                             {.before = 1, .enabled = [&](std::string_view) { return away; }});
  Metrics metrics;
  ServiceOptions options;
  options.needs_worker = false;
  Service service(*store, clock_, *log_, metrics, options);
  EXPECT_TRUE(service.readiness().ready);
  EXPECT_THAT(service.readiness().reasons, ElementsAre(HasSubstr("consuming")));
  away = true;
  EXPECT_FALSE(service.readiness().ready);
  EXPECT_THAT(service.readiness().reasons, ElementsAre(HasSubstr("store")));
}

TEST_F(ServiceVerbs, who_waits_for_a_store_that_is_away_finds_out_once) {
  int asked = 0;
  bool away = true;
  auto store = inject_faults(open_memory_store(clock_, random_), random_,
                             {.before = 1, .enabled = [&](std::string_view) {
                                ++asked;
                                return away;
                              }});
  Metrics metrics;
  Service service(*store, clock_, *log_, metrics, {});
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(error_of([&] { service.submit(request()); }).code(), Errc::unavailable);
  EXPECT_EQ(asked, 1);
  away = false;
  clock_.advance(Catalogue::kFreshFor + 1ms);
  EXPECT_EQ(error_of([&] { service.submit(request()); }).code(), Errc::invalid);  // not known
}

TEST_F(ServiceVerbs, the_reason_of_what_has_not_ended) {
  std::string id = submit().id;
  EXPECT_THAT(service_->reason(service_->get(id)), HasSubstr("No live worker session"));
  report({"default"});
  EXPECT_THAT(service_->reason(service_->get(id)), HasSubstr("should start now"));
  finish(claim(), Outcome::fail({"boom", "no luck", {}}));
  EXPECT_THAT(service_->reason(service_->get(id)), HasSubstr("no luck"));
  EXPECT_EQ(service_->reason(service_->get(task_in(State::completed))), "");
}

TEST_F(ServiceVerbs, the_history_is_numbered_from_one) {
  std::string id = task_in(State::failed);
  service_->retry(id, "1");
  Task task = service_->get(id);
  auto events = service_->events(task);
  ASSERT_THAT(events, testing::Not(IsEmpty()));
  EXPECT_EQ(events.front().kind, "submitted");
  for (size_t i = 0; i < events.size(); ++i) EXPECT_EQ(events[i].number, static_cast<int>(i) + 1);
  EXPECT_THAT(service_->attempts(service_->get(id)), SizeIs(1));
}

TEST_F(ServiceVerbs, the_history_keeps_its_numbers_when_a_start_is_reported_late) {
  const std::string id = submit().id;
  ClaimedTask claimed = claim();
  const TimePoint started_at = clock_.now();
  clock_.advance(5ms);
  service_->cancel(id);
  Task task = service_->get(id);
  EXPECT_THAT(kinds(service_->events(task)), ElementsAre("submitted"));

  SessionReport report;
  report.running = {{claimed.key, claimed.live.attempt, 0, started_at}};
  store_->fleet().renew(session_, report);
  EXPECT_THAT(kinds(service_->events(task)),
              ElementsAre("submitted", "started", "cancel_requested"));
  EXPECT_EQ(task.started_at, started_at) << "the task is as it was when its events were read";
}

TEST_F(ServiceVerbs, the_history_keeps_how_a_task_ended_before_it_was_retried) {
  const std::string id = task_in(State::failed);
  Task task = service_->get(id);
  auto before = service_->events(task);
  service_->retry(id, std::nullopt);
  auto after = service_->events(task);
  ASSERT_EQ(after.size(), before.size() + 1);
  for (size_t i = 0; i < before.size(); ++i) {
    EXPECT_EQ(after[i].kind, before[i].kind);
    EXPECT_EQ(after[i].at, before[i].at);
    EXPECT_EQ(after[i].data, before[i].data);
  }
  EXPECT_EQ(after.back().kind, "retried");
}

TEST_F(ServiceVerbs, actors_are_listed_once_each) {
  std::vector<std::string> types;
  for (const CatalogueEntry& entry : service_->actors()) types.push_back(entry.type);
  EXPECT_THAT(types, ElementsAre("broken", "mail.send", "strict", "tuned"));
}

TEST_F(ServiceVerbs, workers_have_names) {
  EXPECT_EQ(service_->worker_name(SessionId{12}), "worker-12");
  EXPECT_EQ(service_->worker_name({}), "");
  EXPECT_THAT(service_->workers(), SizeIs(1));
}

}  // namespace
}  // namespace opscore
