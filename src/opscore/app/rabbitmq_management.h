#pragma once
// What only the management API of RabbitMQ tells: how many messages of a queue consumers hold.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "opscore/net/http_client.h"

namespace opscore {

// Of queues in `vhost`. Nothing without a URL; a queue that is not there holds none. The call
// throws Error when the API does not answer, or not with numbers. `http` must outlive it.
std::function<std::optional<uint64_t>(const std::string& queue)> make_unanswered_counter(
    HttpClient& http, const std::string& management_url, const std::string& vhost);

}  // namespace opscore
