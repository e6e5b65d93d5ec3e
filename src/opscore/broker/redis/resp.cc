#include "opscore/broker/redis/resp.h"

#include <fmt/format.h>

#include <charconv>

#include "opscore/base/error.h"

namespace opscore {
namespace {

constexpr std::string_view kEnd = "\r\n";
constexpr int64_t kBytesMax = 64 << 20;
constexpr int64_t kItemsMax = 1 << 20;
constexpr int kDepthMax = 8;

[[noreturn]] void fail() {
  throw Error(Errc::unavailable, "what answers there does not speak the protocol of Redis");
}

int64_t size_of(std::string_view digits, int64_t max) {
  int64_t size = 0;
  auto [end, status] = std::from_chars(digits.data(), digits.data() + digits.size(), size);
  if (status != std::errc() || end != digits.data() + digits.size() || size < -1 || size > max)
    fail();
  return size;
}

std::optional<RedisReply> take(std::string_view bytes, size_t& at, int depth);

std::optional<RedisReply> take_text(std::string_view bytes, size_t& at, int64_t size) {
  if (size < 0) return RedisReply{};
  const size_t end = at + static_cast<size_t>(size);
  if (bytes.size() < end + kEnd.size()) return std::nullopt;
  if (bytes.substr(end, kEnd.size()) != kEnd) fail();
  RedisReply reply{RedisReply::Kind::text, std::string(bytes.substr(at, end - at)), {}};
  at = end + kEnd.size();
  return reply;
}

std::optional<RedisReply> take_list(std::string_view bytes, size_t& at, int64_t size, int depth) {
  if (size < 0) return RedisReply{};
  if (depth == kDepthMax) fail();
  RedisReply reply{RedisReply::Kind::list, {}, {}};
  for (int64_t i = 0; i < size; ++i) {
    auto item = take(bytes, at, depth + 1);
    if (!item) return std::nullopt;
    reply.items.push_back(*std::move(item));
  }
  return reply;
}

std::optional<RedisReply> take(std::string_view bytes, size_t& at, int depth) {
  const size_t end = bytes.find(kEnd, at);
  if (end == bytes.npos) return std::nullopt;
  if (end == at) fail();
  const char type = bytes[at];
  const std::string_view line = bytes.substr(at + 1, end - at - 1);
  at = end + kEnd.size();
  switch (type) {
    case '+':
      return RedisReply{RedisReply::Kind::text, std::string(line), {}};
    case '-':
      return RedisReply{RedisReply::Kind::error, std::string(line), {}};
    case ':':
      return RedisReply{RedisReply::Kind::integer, std::string(line), {}};
    case '$':
      return take_text(bytes, at, size_of(line, kBytesMax));
    case '*':
      return take_list(bytes, at, size_of(line, kItemsMax), depth);
    default:
      fail();
  }
}

}  // namespace

void append_command(std::string& out, const RedisCommand& command) {
  fmt::format_to(std::back_inserter(out), "*{}\r\n", command.size());
  for (const std::string& word : command)
    fmt::format_to(std::back_inserter(out), "${}\r\n{}\r\n", word.size(), word);
}

const RedisReply* RedisReply::error() const {
  if (kind == Kind::error) return this;
  for (const RedisReply& item : items)
    if (const RedisReply* found = item.error()) return found;
  return nullptr;
}

std::optional<RedisReply> take_reply(std::string_view bytes, size_t& at) {
  size_t end = at;
  if (at < bytes.size() && std::string_view("+-:$*").find(bytes[at]) == std::string_view::npos)
    fail();
  auto reply = take(bytes, end, 0);
  if (reply) at = end;
  return reply;
}

}  // namespace opscore
