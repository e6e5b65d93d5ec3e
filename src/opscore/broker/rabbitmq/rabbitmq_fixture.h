#pragma once
// The RabbitMQ of the tests: RABBITMQ_URL and RABBITMQ_MANAGEMENT_URL say where it is (./dev
// services env). Each program of tests works in a virtual host of its own, each broker with names
// of its own.

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include "opscore/base/json.h"
#include "opscore/base/log.h"
#include "opscore/base/random.h"
#include "opscore/broker/rabbitmq/amqp_url.h"
#include "opscore/broker/rabbitmq/rabbitmq_broker.h"

namespace opscore {

struct CommandResult {
  int status = 0;
  std::string output;
};

inline CommandResult run_command(const std::string& command) {
  CommandResult result;
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (!pipe) return {-1, "popen failed"};
  std::array<char, 4096> bytes;
  while (size_t got = std::fread(bytes.data(), 1, bytes.size(), pipe))
    result.output.append(bytes.data(), got);
  int status = ::pclose(pipe);
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return result;
}

class RabbitMqServer {
 public:
  // The one of this program; null when the environment names none.
  static RabbitMqServer* find() {
    static std::unique_ptr<RabbitMqServer> server = [] {
      const char* url = std::getenv("RABBITMQ_URL");
      const char* management = std::getenv("RABBITMQ_MANAGEMENT_URL");
      return url && management && *url && *management
                 ? std::make_unique<RabbitMqServer>(url, management)
                 : nullptr;
    }();
    return server.get();
  }

  RabbitMqServer(std::string url, std::string management)
      : url_(parse_amqp_urls(url).value().front()),
        management_(std::move(management)),
        vhost_(fmt::format("opscore-test-{:x}", SystemRandom().next())) {
    admin("PUT", "vhosts/" + vhost_);
    admin("PUT", fmt::format("permissions/{}/{}", vhost_, url_.user),
          R"({"configure":".*","write":".*","read":".*"})");
  }
  ~RabbitMqServer() { admin("DELETE", "vhosts/" + vhost_); }
  RabbitMqServer(const RabbitMqServer&) = delete;

  const AmqpUrl& url() const { return url_; }
  const std::string& vhost() const { return vhost_; }
  // The URL of the virtual host, with other parts where they are given.
  std::string amqp(uint16_t port = 0, const std::string& options = "") const {
    return fmt::format("amqp://{}:{}@127.0.0.1:{}/{}{}", url_.user, url_.password,
                       port ? port : url_.port, vhost_, options);
  }
  // A request to the management API; {} as text in a path must be encoded by the caller.
  std::string admin(const std::string& method, const std::string& path,
                    const std::string& body = "") const {
    std::string data =
        body.empty() ? "" : fmt::format("-H content-type:application/json -d '{}'", body);
    auto result =
        run_command(fmt::format("curl -sS -X {} {} '{}/api/{}'", method, data, management_, path));
    EXPECT_EQ(result.status, 0) << method << " " << path << ": " << result.output;
    return result.output;
  }
  Json ask(const std::string& path) const { return parse_json(admin("GET", path)); }
  // Of the node that ./dev services started; the answer is false when it is not that one.
  static bool ctl(const std::string& arguments) {
    auto root = std::filesystem::path(__FILE__).parent_path() / "../../../..";
    auto result = run_command(
        fmt::format("'{}/tools/services.sh' rabbitmqctl -q {}", root.string(), arguments));
    EXPECT_EQ(result.status, 0) << arguments << ": " << result.output;
    return result.status == 0;
  }

 private:
  const AmqpUrl url_;
  const std::string management_;
  const std::string vhost_;
};

// The process behind a queue, made to answer nobody: as a quorum queue is without its leader.
class SuspendedQueue {
 public:
  SuspendedQueue(const RabbitMqServer& server, const std::string& vhost, const std::string& queue)
      : process_(process_of(server, vhost, queue)) {
    EXPECT_TRUE(RabbitMqServer::ctl(fmt::format("eval 'sys:suspend({}).'", process_)));
  }
  ~SuspendedQueue() {
    EXPECT_TRUE(RabbitMqServer::ctl(fmt::format("eval 'sys:resume({}).'", process_)));
  }
  SuspendedQueue(const SuspendedQueue&) = delete;

 private:
  // As Erlang names it.
  static std::string process_of(const RabbitMqServer& server, const std::string& vhost,
                                const std::string& queue) {
    const Json known = server.ask(fmt::format("queues/{}/{}", vhost, queue));
    if (known.at("type") == "quorum") return fmt::format("list_to_atom(\"{}_{}\")", vhost, queue);
    return fmt::format(
        "amqqueue:get_pid(element(2, rabbit_amqqueue:lookup("
        "rabbit_misc:r(<<\"{}\">>, queue, <<\"{}\">>))))",
        vhost, queue);
  }

  const std::string process_;
};

}  // namespace opscore
