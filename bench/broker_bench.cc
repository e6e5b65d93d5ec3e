// What RabbitMQ carries: hints announced and confirmed, then consumed and acked, a second.
//
//   ninja -C build broker_bench && RABBITMQ_URL=amqp://... build/broker_bench [hints]

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include "opscore/base/error.h"
#include "opscore/broker/rabbitmq/rabbitmq_broker.h"

namespace {

using opscore::Deadline;

double seconds_since(opscore::SteadyPoint begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

void measure(opscore::RabbitMqOptions options, size_t count) {
  auto log = opscore::silent_log();
  opscore::SystemRandom random;
  options.prefix = fmt::format("opscore.bench.{:x}.", random.next());
  auto broker = opscore::open_rabbitmq_broker(options, *log, random);
  const size_t batch = std::min<size_t>(options.announce_window, 1000);
  broker->announce(std::vector{opscore::Hint{"q", 1}});  // connects, and makes the queue
  auto begin = std::chrono::steady_clock::now();
  for (size_t done = 0; done < count; done += batch)
    broker->announce(std::vector(batch, opscore::Hint{"q", 1}));
  double announced = seconds_since(begin);
  begin = std::chrono::steady_clock::now();
  broker->subscribe({"q"});
  for (size_t done = 0; done < count + 1;) {
    auto deliveries = broker->receive(Deadline::after(std::chrono::seconds(10)));
    std::vector<uint64_t> tags;
    for (const auto& delivery : deliveries) tags.push_back(delivery.tag);
    broker->ack(tags);
    done += tags.size();
  }
  fmt::print("announce window {:5}: {:7.0f}/s    consume window {:5}: {:7.0f}/s\n",
             options.announce_window, static_cast<double>(count) / announced,
             options.consume_window, static_cast<double>(count) / seconds_since(begin));
}

}  // namespace

int main(int argc, char** argv) try {
  const char* url = std::getenv("RABBITMQ_URL");
  if (!url) throw opscore::Error(opscore::Errc::invalid, "RABBITMQ_URL is not set");
  size_t count = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 50'000;
  opscore::RabbitMqOptions options{.url = url, .connection_name = "opscore bench"};
  for (auto [announce, consume] :
       {std::pair<size_t, uint16_t>{1, 16}, {64, 64}, {1024, 256}, {1024, 1024}}) {
    options.announce_window = announce;
    options.consume_window = consume;
    measure(options, announce == 1 ? count / 10 : count);
  }
} catch (const std::exception& error) {
  fmt::print(stderr, "broker_bench: {}\n", error.what());
  return 1;
}
