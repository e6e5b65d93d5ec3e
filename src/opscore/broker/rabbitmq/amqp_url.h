#pragma once
// AMQP URLs (https://www.rabbitmq.com/uri-spec.html), several of them separated by `,` or `;` for
// failover:
//
//   amqp[s]://[user[:password]@][host][:port][/vhost][?option=value&...]
//
// User, password, host and vhost are percent-decoded. Without a path the vhost is `/`;
// `amqp://host/` names the vhost whose name is empty. Options: heartbeat (seconds),
// connection_timeout (ms), and for amqps cacertfile, certfile, keyfile and verify (verify_peer,
// verify_none).

#include <chrono>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "opscore/base/error.h"
#include "opscore/base/time.h"

namespace opscore {

struct AmqpUrl {
  bool tls = false;
  std::string host = "localhost";
  uint16_t port = 5672;
  std::string user = "guest";
  std::string password = "guest";
  std::string vhost = "/";
  std::chrono::seconds heartbeat{10};
  Duration connection_timeout{3000};
  // TLS only.
  std::string ca_file = "/etc/ssl/certs/ca-certificates.crt";
  std::string certificate_file;
  std::string key_file;
  bool verify = true;

  // For messages and logs: scheme, host, port and vhost.
  std::string where() const;
};

// At least one. Errors are Errc::invalid and never quote what could be part of a password.
std::expected<std::vector<AmqpUrl>, Error> parse_amqp_urls(std::string_view text);

}  // namespace opscore
