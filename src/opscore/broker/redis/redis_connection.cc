#include "opscore/broker/redis/redis_connection.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "opscore/broker/resolve.h"

namespace opscore {
namespace {

std::string words_of(int error) {
  return std::generic_category().message(error);
}

}  // namespace

RedisConnection::RedisConnection(RedisUrl url, Duration call_timeout)
    : url_(std::move(url)), call_timeout_(call_timeout) {}

std::vector<RedisReply> RedisConnection::ask(const std::vector<RedisCommand>& commands) {
  const Deadline deadline = Deadline::after(call_timeout_);
  const bool is_new = socket_ < 0;
  try {
    if (is_new) connect(deadline);
    return exchange(commands, deadline);
  } catch (const Error&) {
    close();
    if (is_new || deadline.passed()) throw;
  }
  // Redis, or what is in between, ends connections that were idle for long.
  try {
    connect(deadline);
    return exchange(commands, deadline);
  } catch (const Error&) {
    close();
    throw;
  }
}

void RedisConnection::connect(Deadline deadline) {
  auto addresses = resolve(url_.host, deadline);
  if (!addresses) throw away(addresses.error().message());
  for (size_t i = 0; i < addresses->size(); ++i) try {
      open_socket((*addresses)[i], deadline);
      return greet(deadline);
    } catch (const Error&) {
      close();
      if (i + 1 == addresses->size() || deadline.passed()) throw;
    }
}

void RedisConnection::open_socket(const std::string& address, Deadline deadline) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  const std::string port = std::to_string(url_.port);
  if (int error = ::getaddrinfo(address.c_str(), port.c_str(), &hints, &found); error != 0)
    throw away(::gai_strerror(error));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owned(found, &::freeaddrinfo);
  socket_ = ::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (socket_ < 0) throw away(words_of(errno));
  const int on = 1;
  ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (::connect(socket_, found->ai_addr, found->ai_addrlen) == 0) return;
  if (errno != EINPROGRESS) throw away(words_of(errno));
  wait(POLLOUT, deadline);
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(socket_, SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) throw away(words_of(error));
}

void RedisConnection::greet(Deadline deadline) {
  std::vector<RedisCommand> greeting;
  if (!url_.password.empty() && url_.user.empty()) greeting.push_back({"AUTH", url_.password});
  if (!url_.user.empty()) greeting.push_back({"AUTH", url_.user, url_.password});
  greeting.push_back({"SELECT", std::to_string(url_.database)});
  exchange(greeting, deadline);
}

std::vector<RedisReply> RedisConnection::exchange(const std::vector<RedisCommand>& commands,
                                                  Deadline deadline) {
  std::string bytes;
  for (const RedisCommand& command : commands) append_command(bytes, command);
  send(bytes, deadline);
  std::string answer;
  size_t at = 0;
  std::vector<RedisReply> replies;
  while (replies.size() < commands.size()) {
    auto reply = take_reply(answer, at);
    if (!reply) {
      receive(answer, deadline);
      continue;
    }
    if (const RedisReply* error = reply->error()) throw away("it answers: " + error->text);
    replies.push_back(*std::move(reply));
  }
  return replies;
}

void RedisConnection::send(std::string_view bytes, Deadline deadline) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent >= 0)
      bytes.remove_prefix(static_cast<size_t>(sent));
    else if (errno == EAGAIN)
      wait(POLLOUT, deadline);
    else if (errno != EINTR)
      throw away(words_of(errno));
  }
}

void RedisConnection::receive(std::string& bytes, Deadline deadline) {
  std::array<char, 16384> part;
  for (;;) {
    const ssize_t got = ::recv(socket_, part.data(), part.size(), 0);
    if (got > 0) return (void)bytes.append(part.data(), static_cast<size_t>(got));
    if (got == 0) throw away("it has closed the connection");
    if (errno == EAGAIN)
      wait(POLLIN, deadline);
    else if (errno != EINTR)
      throw away(words_of(errno));
  }
}

void RedisConnection::wait(short events, Deadline deadline) {
  pollfd poll{socket_, events, 0};
  const int left = static_cast<int>(deadline.left().count());
  if (left <= 0 || ::poll(&poll, 1, left) == 0) throw away("it does not answer in time");
}

void RedisConnection::close() {
  if (socket_ >= 0) ::close(socket_);
  socket_ = -1;
}

Error RedisConnection::away(const std::string& why) const {
  return Error(Errc::unavailable, fmt::format("Redis at {}: {}", url_.where(), why));
}

}  // namespace opscore
