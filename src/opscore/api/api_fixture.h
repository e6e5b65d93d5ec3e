#pragma once
// What the tests of this module share: a Service over the memory store that knows one type of
// task, and a small HTTP client on a plain socket, which can also misbehave.

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "opscore/base/json.h"
#include "opscore/engine/service.h"
#include "opscore/model/decide.h"
#include "opscore/store/memory/memory_store.h"

namespace opscore {

class ApiTest : public testing::Test {
 protected:
  ApiTest() {
    ServiceOptions options;
    CatalogueEntry entry;
    entry.type = "mail.send";
    entry.kind = "native";
    options.declared.push_back(entry);
    options.input_bytes_max = 1 << 20;
    options.bulk.exports = exports.path().string();
    options.bulk.write_task = [](std::string& out, const Task& task) { out += task.input; };
    store = open_memory_store(clock, random);
    log = silent_log();
    service = std::make_unique<Service>(*store, clock, *log, metrics, options);
    session = store->fleet().open_session("test:1", "{\"pid\": 1}");
  }

  std::string submit(std::string input = "null") {
    SubmitRequest request;
    request.type = "mail.send";
    request.input = std::move(input);
    return service->submit(std::move(request)).id;
  }
  // Claims the best due task of the default queue.
  ClaimedTask claim() {
    ClaimRequest request;
    request.session = session;
    request.queues = {{"default", 1}};
    request.types = std::make_shared<std::vector<std::string>>(1, "mail.send");
    auto claimed = store->tasks().claim(request);
    EXPECT_EQ(claimed.tasks.size(), 1u);
    return claimed.tasks.at(0);
  }
  void finish(const ClaimedTask& task, const Outcome& outcome) {
    TimePoint now = clock.now();
    auto applied = store->tasks().apply({decide_finish(task, outcome, now, now, random)});
    EXPECT_EQ(applied.at(0), Applied::applied);
  }

  // Works on bulk jobs until all have ended.
  void work_on_jobs() {
    while (service->bulk().work()) {
    }
  }

  // A folder that goes with the test.
  class Folder {
   public:
    Folder() {
      std::string pattern = (std::filesystem::temp_directory_path() / "opscore-XXXXXX").string();
      EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
      path_ = pattern;
    }
    ~Folder() {
      std::error_code ignored;
      std::filesystem::remove_all(path_, ignored);
    }
    Folder(const Folder&) = delete;
    const std::filesystem::path& path() const { return path_; }

   private:
    std::filesystem::path path_;
  };

  Folder exports;
  SystemClock clock;
  SeededRandom random{7};
  std::unique_ptr<Store> store;
  std::unique_ptr<Log> log;
  Metrics metrics;
  std::unique_ptr<Service> service;
  SessionId session;
};

struct HttpAnswer {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
  bool has(const std::string& name) const { return headers.contains(name); }
};

// One connection to 127.0.0.1. Everything gives up after 10 s and fails the test.
class RawClient {
 public:
  explicit RawClient(uint16_t port);
  ~RawClient();
  RawClient(const RawClient&) = delete;

  void send(std::string_view bytes);
  void close_sending();
  // Sends a request with Host and Content-Length and reads the answer.
  HttpAnswer ask(const std::string& method, const std::string& target, const std::string& body = {},
                 const std::string& headers = {});
  HttpAnswer read_answer(bool has_body = true);
  // Up to and including `mark`; what came so far when the server closes first.
  std::string read_until(std::string_view mark);
  std::string read_to_end();
  bool closed_by_server();

 private:
  bool receive();
  int fd_;
  std::string pending_;
};

}  // namespace opscore
