#include "opscore/model/fleet.h"

#include <gtest/gtest.h>

#include "opscore/base/json.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;

void expect_same(const SessionReport& a, const SessionReport& b) {
  EXPECT_EQ(a.state, b.state);
  EXPECT_EQ(a.canary, b.canary);
  EXPECT_EQ(a.queues, b.queues);
  EXPECT_EQ(a.types, b.types);
  EXPECT_EQ(std::tuple(a.slots, a.busy, a.abandoned, a.unstarted),
            std::tuple(b.slots, b.busy, b.abandoned, b.unstarted));
  EXPECT_EQ(a.oldest_unstarted_at, b.oldest_unstarted_at);
  EXPECT_EQ(a.loops, b.loops);
  EXPECT_EQ(a.broker, b.broker);
  ASSERT_EQ(a.running.size(), b.running.size());
  for (size_t i = 0; i < a.running.size(); ++i) {
    EXPECT_EQ(a.running[i].key, b.running[i].key);
    EXPECT_EQ(a.running[i].attempt, b.running[i].attempt);
    EXPECT_EQ(a.running[i].slot, b.running[i].slot);
    EXPECT_EQ(a.running[i].started_at, b.running[i].started_at);
  }
}

TEST(SessionReport, RoundTrips) {
  expect_same(decode_report(encode_report({})), SessionReport{});
  expect_same(decode_report(""), SessionReport{});
  SessionReport report;
  report.state = "consuming";
  report.canary = {"lost", "the broker has not delivered it", from_ms(1'700'000'000'123)};
  report.queues = {"default", "mail"};
  report.types = {"a", "quote\"d"};
  report.slots = 8;
  report.busy = 3;
  report.abandoned = 1;
  report.unstarted = 2;
  report.oldest_unstarted_at = from_ms(1'750'000'000'001);
  report.loops = {{"intake", from_ms(1)}, {"finisher", from_ms(2)}};
  report.running = {{TaskKey{INT64_MAX}, 1, 0, from_ms(3)}, {TaskKey{5}, 20, 7, TimePoint{}}};
  report.broker = SessionReport::Broker{
      "amqp://host:5672/%2F", "connection \"refused\"", "low on memory", {{"mail", "406"}}};
  std::string text = encode_report(report);
  EXPECT_TRUE(check_json(text)) << text;
  expect_same(decode_report(text), report);
}

TEST(SessionReport, ANewerVersionsMembersAreSkipped) {
  EXPECT_EQ(decode_report(R"({"slots":4,"later":{"x":[]},"running":[{"key":1,"new":0}]})").slots,
            4);
}

TEST(SessionReport, WhatIsNotOursIsCorrupt) {
  for (const char* text :
       {"x", "[]", R"({"slots":"4"})", R"({"slots":99999999999})", R"({"queues":[1]})",
        R"({"running":[1]})", R"({"loops":{"a":"b"}})", R"({"broker":[]})"}) {
    try {
      decode_report(text);
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Errc::corrupt) << text;
    }
  }
}

void expect_same(const CatalogueEntry& a, const CatalogueEntry& b) {
  EXPECT_EQ(a.type, b.type);
  EXPECT_EQ(a.kind, b.kind);
  EXPECT_EQ(a.queue, b.queue);
  EXPECT_EQ(a.version, b.version);
  EXPECT_EQ(a.description, b.description);
  EXPECT_EQ(a.input_schema, b.input_schema);
  EXPECT_EQ(a.timeout, b.timeout);
  EXPECT_EQ(a.max_attempts, b.max_attempts);
  EXPECT_EQ(a.retry, b.retry);
  EXPECT_EQ(a.aliases, b.aliases);
  EXPECT_EQ(a.sandbox, b.sandbox);
  EXPECT_EQ(a.unsandboxed, b.unsandboxed);
  EXPECT_EQ(a.seen_at, b.seen_at);
}

TEST(CatalogueEntry, RoundTrips) {
  CatalogueEntry plain;
  plain.type = "a";
  expect_same(decode_entry(encode_entry(plain)), plain);
  CatalogueEntry entry;
  entry.type = "agent_task";
  entry.kind = "agent";
  entry.queue = "agents";
  entry.version = "1.2";
  entry.description = "says \"hi\"";
  entry.input_schema = "{ \"type\" : \"object\" }";
  entry.timeout = 1h;
  entry.max_attempts = 0;
  entry.retry = RetryPolicy{1s, 2s, 3, 0.25, 0.75};
  entry.aliases = {"agent_run"};
  entry.sandbox = "preferred";
  entry.unsandboxed = "no bwrap";
  entry.seen_at = from_ms(1'750'000'000'000);
  std::string text = encode_entry(entry);
  EXPECT_TRUE(check_json(text)) << text;
  expect_same(decode_entry(text), entry);
}

TEST(CatalogueEntry, WhatIsNotOursIsCorrupt) {
  EXPECT_THROW(decode_entry("{"), Error);
  EXPECT_THROW(decode_entry(R"({"type":1})"), Error);
  EXPECT_EQ(decode_entry(R"({"type":"a","later":1})").type, "a");
}

}  // namespace
}  // namespace opscore
