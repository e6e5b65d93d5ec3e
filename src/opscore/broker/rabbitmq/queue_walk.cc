#include "opscore/broker/rabbitmq/queue_walk.h"

#include <fmt/format.h>

namespace opscore {
namespace {

class RabbitWalk final : public QueueWalk {
 public:
  RabbitWalk(std::unique_ptr<Connection> server, std::string queue)
      : server_(std::move(server)), queue_(std::move(queue)) {}

  std::vector<WalkedMessage> next(size_t most) override {
    std::vector<WalkedMessage> seen;
    while (seen.size() < most) {
      auto got = server_->get(queue_);
      if (!got) break;
      seen.push_back({got->tag, std::move(got->body), got->size, got->priority, got->redelivered,
                      std::move(got->headers), std::move(got->deaths)});
    }
    return seen;
  }
  void take(std::span<const uint64_t> tags) override {
    for (uint64_t tag : tags) server_->ack(tag, false);
    // An answer to a question says that what was sent before it has arrived.
    server_->inspect(queue_);
  }

 private:
  const std::unique_ptr<Connection> server_;
  const std::string queue_;
};

std::unique_ptr<Connection> connect(const std::vector<AmqpUrl>& urls,
                                    const ConnectionOptions& options) {
  for (size_t i = 0;; ++i) {
    try {
      return Connection::open(urls.at(i), options);
    } catch (const Error& error) {
      if (error.code() != Errc::unavailable || i + 1 == urls.size()) throw;
    }
  }
}

}  // namespace

std::unique_ptr<QueueWalk> walk_rabbitmq(const std::vector<AmqpUrl>& urls,
                                         const ConnectionOptions& options,
                                         const std::string& queue) {
  auto server = connect(urls, options);
  if (!server->inspect(queue))
    throw Error(Errc::not_found,
                fmt::format("RabbitMQ at {}: there is no queue '{}'", server->where(), queue));
  return std::make_unique<RabbitWalk>(std::move(server), queue);
}

}  // namespace opscore
