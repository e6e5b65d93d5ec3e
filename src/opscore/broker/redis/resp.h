#pragma once
// RESP2, the protocol of Redis: commands out, replies in. Pure.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace opscore {

using RedisCommand = std::vector<std::string>;
void append_command(std::string& out, const RedisCommand& command);

struct RedisReply {
  enum class Kind : uint8_t { text, integer, error, nothing, list } kind = Kind::nothing;
  std::string text;               // of a text, an error, or an integer's digits
  std::vector<RedisReply> items;  // of a list
  bool operator==(const RedisReply&) const = default;

  // The first error in it, or null.
  const RedisReply* error() const;
};

// The reply at `at`, which moves behind it; nothing while it has not come whole. Throws
// Error{unavailable} for what is no reply: it is not Redis that answers.
std::optional<RedisReply> take_reply(std::string_view bytes, size_t& at);

}  // namespace opscore
