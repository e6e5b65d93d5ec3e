// How many messages of Dramatiq a second become tasks, and how many tasks become messages for
// Dramatiq's workers: RabbitMQ at RABBITMQ_URL, the store on a SQLite file in the working
// directory, or on PostgreSQL when DATABASE_URL names one.
//
//   build/adoption_bench [messages [window]]

#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "opscore/broker/rabbitmq/rabbitmq_foreign_broker.h"
#include "opscore/engine/service.h"
#include "opscore/store/postgres/postgres_store.h"
#include "opscore/store/sqlite/sqlite_store.h"
#include "opscore/worker/adopter.h"
#include "opscore/worker/foreign_relay.h"

using namespace opscore;

namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::string body(size_t n, uint64_t run, const std::string& queue) {
  return fmt::format(
      R"({{"queue_name":"{}","actor_name":"add","args":[1,2],"kwargs":{{"text":"hello"}},)"
      R"("options":{{}},"message_id":"{:016x}-{}","message_timestamp":1795164167921}})",
      queue, run, n);
}

std::unique_ptr<Store> open_store(const Clock& clock, Random& random, Log& log) {
  if (const char* url = std::getenv("DATABASE_URL"); url && *url) {
    PostgresOptions options;
    options.url = url;
    options.migrate = true;
    return open_postgres_store(clock, random, log, options);
  }
  std::filesystem::remove("adoption_bench.db");
  SqliteOptions options;
  options.path = "adoption_bench.db";
  return open_sqlite_store(clock, random, log, options);
}

// Counts what is answered, which costs less than asking the store.
class CountingBroker final : public ForeignBroker {
 public:
  explicit CountingBroker(ForeignBroker& behind) : behind_(behind) {}
  size_t acked() const { return acked_; }

  std::vector<bool> publish(std::span<const ForeignMessage> messages) override {
    return behind_.publish(messages);
  }
  void subscribe(const std::vector<std::string>& queues) override { behind_.subscribe(queues); }
  std::vector<ForeignDelivery> receive(Deadline deadline) override {
    ++rounds_;
    return behind_.receive(deadline);
  }
  void ack(std::span<const uint64_t> tags) override {
    behind_.ack(tags);
    acked_ += tags.size();
  }
  void give_back(std::span<const uint64_t> tags) override { behind_.give_back(tags); }
  void reject(std::span<const uint64_t> tags) override { behind_.reject(tags); }
  std::vector<ForeignQueue> queues(std::span<const std::string> names) override {
    return behind_.queues(names);
  }
  std::unique_ptr<QueueWalk> walk(const std::string& queue) override { return behind_.walk(queue); }
  BrokerState state() const override { return behind_.state(); }
  size_t rounds() const { return rounds_; }

 private:
  ForeignBroker& behind_;
  size_t acked_ = 0, rounds_ = 0;
};

constexpr char kHandedOver[] = "resize";

void hand_over(Service& service, ForeignBroker& broker, const Clock& clock, Log& log,
               Metrics& metrics, const std::string& queue, size_t count) {
  for (size_t left = count; left > 0;) {
    std::vector<SubmitRequest> requests(std::min<size_t>(left, 1000));
    for (SubmitRequest& request : requests) {
      request.type = kHandedOver;
      request.queue = queue;
      request.input = R"({"args":[1,2],"kwargs":{"text":"hello"}})";
    }
    left -= requests.size();
    service.submit_many(std::move(requests), InsertMode::all_or_nothing);
  }
  ForeignRelay relay(service, &broker, clock, log, metrics, {.leads = [] { return true; }});
  auto start = std::chrono::steady_clock::now();
  while (!service.store().outbox().due(OutboxRow::Kind::amqp, 1).empty()) relay.step();
  fmt::print("handed over and confirmed {:.0f}/s\n",
             static_cast<double>(count) / seconds_since(start));
}

}  // namespace

int main(int argc, char** argv) {
  const size_t count = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 20'000;
  const char* url = std::getenv("RABBITMQ_URL");
  if (!url) return fmt::print("RABBITMQ_URL says where RabbitMQ is\n"), 2;
  SystemClock clock;
  SystemRandom random;
  Log log({.level = LogLevel::warn});
  Metrics metrics;
  auto store = open_store(clock, random, log);
  ServiceOptions known;
  known.declared.resize(2);
  known.declared[0].type = "add";
  known.declared[1].type = kHandedOver;
  known.declared[1].kind = kDramatiqKind;
  known.declared[1].dramatiq = "{}";
  Service service(*store, clock, log, metrics, known);
  const uint64_t run = random.next();
  const std::string queue = fmt::format("bench_{:x}", run);
  ForeignRabbitMqOptions options;
  options.url = url;
  options.connection_name = "opscore adoption bench";
  options.call_timeout = Duration(60'000);
  if (argc > 2) options.consume_window = static_cast<uint16_t>(std::strtoul(argv[2], nullptr, 10));
  auto broker = open_foreign_rabbitmq(options, log, random);
  std::vector<ForeignMessage> messages;
  for (size_t n = 0; n < count; ++n) messages.push_back({queue, body(n, run, queue), {}, {}});
  auto start = std::chrono::steady_clock::now();
  broker->publish(messages);
  fmt::print("published and confirmed {:.0f}/s\n",
             static_cast<double>(count) / seconds_since(start));

  CountingBroker counting(*broker);
  Adopter adopter(service, counting, clock, random, log, metrics, {.queues = {queue}});
  start = std::chrono::steady_clock::now();
  while (counting.acked() < count) adopter.step(Deadline::after(Duration(1000)));
  fmt::print("adopted {:.0f}/s, in {} rounds\n", static_cast<double>(count) / seconds_since(start),
             counting.rounds());
  hand_over(service, *broker, clock, log, metrics, queue + "_out", count);
}
