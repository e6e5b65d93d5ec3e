// How many messages of Dramatiq a second become tasks: RabbitMQ at RABBITMQ_URL, the store on a
// SQLite file in the working directory, or on PostgreSQL when DATABASE_URL names one.
//
//   build/adoption_bench [messages]

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
  known.declared.resize(1);
  known.declared[0].type = "add";
  Service service(*store, clock, log, metrics, known);
  const uint64_t run = random.next();
  const std::string queue = fmt::format("bench_{:x}", run);
  ForeignRabbitMqOptions options;
  options.url = url;
  options.connection_name = "opscore adoption bench";
  options.call_timeout = Duration(60'000);
  auto broker = open_foreign_rabbitmq(options, log, random);
  std::vector<ForeignMessage> messages;
  for (size_t n = 0; n < count; ++n) messages.push_back({queue, body(n, run, queue), {}, {}});
  auto start = std::chrono::steady_clock::now();
  broker->publish(messages);
  fmt::print("published and confirmed {:.0f}/s\n",
             static_cast<double>(count) / seconds_since(start));

  Adopter adopter(service, *broker, clock, random, log, metrics, {.queues = {queue}});
  auto adopted = [&] {
    for (const QueueStats& stats : store->reader().queues())
      if (stats.name == queue) return static_cast<size_t>(stats.pending);
    return size_t{0};
  };
  start = std::chrono::steady_clock::now();
  for (size_t left = count; left > 0;) {
    adopter.step(Deadline::after(Duration(1000)));
    left = count - std::min(count, adopted());
  }
  fmt::print("adopted {:.0f}/s\n", static_cast<double>(count) / seconds_since(start));
}
