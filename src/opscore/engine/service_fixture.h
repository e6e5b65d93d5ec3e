#pragma once
// What the tests of the service share: one over a memory store, on a clock that stands still, with
// a few declared types, and a session that claims and finishes.

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "opscore/engine/service.h"
#include "opscore/model/decide.h"
#include "opscore/store/memory/memory_store.h"

namespace opscore {

class ServiceTest : public testing::Test {
 protected:
  ServiceTest() {
    CatalogueEntry plain;
    plain.type = "mail.send";
    plain.kind = "native";
    CatalogueEntry tuned;
    tuned.type = "tuned";
    tuned.kind = "native";
    tuned.queue = "slow";
    tuned.timeout = std::chrono::seconds(90);
    tuned.max_attempts = 2;
    tuned.retry = RetryPolicy{.min = Duration(5), .max = Duration(50)};
    tuned.aliases = {"tuned_alias"};
    CatalogueEntry strict;
    strict.type = "strict";
    strict.kind = "native";
    strict.input_schema =
        R"({"type": "object", "required": ["to"],
            "properties": {"to": {"type": "object", "properties": {"age": {"type": "integer"}}}}})";
    CatalogueEntry broken;
    broken.type = "broken";
    broken.kind = "native";
    broken.input_schema = R"({"type": "strin"})";
    ServiceOptions options;
    options.declared = {broken, plain, tuned, strict};
    options.input_bytes_max = 1000;
    options.batch_tasks_max = 10;
    service_ = std::make_unique<Service>(*store_, clock_, *log_, metrics_, options);
    session_ = store_->fleet().open_session("host:1", "{}");
  }

  static SubmitRequest request(const std::string& type = "mail.send") {
    SubmitRequest request;
    request.type = type;
    return request;
  }
  Submitted submit(SubmitRequest one = request()) { return service_->submit(std::move(one)); }
  Task submit_and_get(SubmitRequest one) { return service_->get(submit(std::move(one)).id); }

  // What the call throws; fails the test when it throws nothing.
  static Error error_of(const std::function<void()>& call) {
    try {
      call();
    } catch (const Error& error) {
      return error;
    }
    ADD_FAILURE() << "nothing was thrown";
    return Error(Errc::internal, "nothing was thrown");
  }
  Error refusal_of(SubmitRequest one) {
    return error_of([&] { submit(std::move(one)); });
  }

  ClaimedTask claim(const std::string& queue = "default") {
    ClaimRequest request;
    request.session = session_;
    request.queues = {{queue, 1}};
    request.types = std::make_shared<const std::vector<std::string>>(
        std::vector<std::string>{"mail.send", "tuned", "strict"});
    auto tasks = store_->tasks().claim(request).tasks;
    if (tasks.size() != 1) throw Error(Errc::internal, "the test has nothing to claim");
    return tasks[0];
  }
  void finish(const ClaimedTask& task, const Outcome& outcome) {
    auto plan = decide_finish(task, outcome, clock_.now(), clock_.now(), random_);
    EXPECT_EQ(store_->tasks().apply({plan})[0], Applied::applied);
  }
  // A task that ended so.
  std::string ended(const Outcome& outcome) {
    std::string id = submit().id;
    finish(claim(), outcome);
    return id;
  }
  void report(const std::vector<std::string>& queues, int slots = 4,
              const std::string& state = "consuming") {
    SessionReport report;
    report.state = state;
    report.queues = queues;
    report.types = {"mail.send"};
    report.slots = slots;
    store_->fleet().renew(session_, report);
  }

  FakeClock clock_;
  SeededRandom random_{5};
  std::unique_ptr<Log> log_ = silent_log();
  Metrics metrics_;
  std::unique_ptr<Store> store_ = open_memory_store(clock_, random_);
  std::unique_ptr<Service> service_;
  SessionId session_;
};

}  // namespace opscore
