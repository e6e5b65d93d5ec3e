#pragma once
// A hint as a message: {"queue":"mail","n":3}, on the RabbitMQ queue `opscore.mail`.

#include <expected>
#include <string>
#include <string_view>

#include "opscore/base/error.h"
#include "opscore/broker/broker.h"

namespace opscore {

inline constexpr size_t kTokenBytesMax = 1024;

std::string encode_token(const Hint& hint);
// Errc::malformed says what is wrong with it.
std::expected<Hint, Error> decode_token(std::string_view body);

}  // namespace opscore
