#include "opscore/api/api_fixture.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

namespace opscore {

RawClient::RawClient(uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
}

RawClient::~RawClient() {
  ::close(fd_);
}

void RawClient::send(std::string_view bytes) {
  while (!bytes.empty()) {
    auto sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;  // the server closed; the answer says why
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
}

void RawClient::close_sending() {
  ::shutdown(fd_, SHUT_WR);
}

bool RawClient::receive() {
  pollfd wait{fd_, POLLIN, 0};
  int ready = ::poll(&wait, 1, 10'000);
  EXPECT_EQ(ready, 1) << "the server did not answer in time";
  char buffer[65536];
  auto got = ready == 1 ? ::recv(fd_, buffer, sizeof buffer, 0) : 0;
  if (got <= 0) return false;
  pending_.append(buffer, static_cast<size_t>(got));
  return true;
}

std::string RawClient::read_until(std::string_view mark) {
  size_t at;
  while ((at = pending_.find(mark)) == std::string::npos)
    if (!receive()) return std::exchange(pending_, {});
  std::string text = pending_.substr(0, at + mark.size());
  pending_.erase(0, at + mark.size());
  return text;
}

std::string RawClient::read_to_end() {
  while (receive()) continue;
  return std::exchange(pending_, {});
}

bool RawClient::closed_by_server() {
  return read_to_end().empty();
}

HttpAnswer RawClient::read_answer(bool has_body) {
  HttpAnswer answer;
  std::string head = read_until("\r\n\r\n");
  if (head.size() < 12) return answer;
  answer.status = std::stoi(head.substr(9, 3));
  for (size_t at = head.find("\r\n") + 2; at + 2 < head.size();) {
    size_t end = head.find("\r\n", at);
    size_t colon = head.find(": ", at);
    std::string name = head.substr(at, colon - at);
    std::transform(name.begin(), name.end(), name.begin(), ::tolower);
    answer.headers[name] = head.substr(colon + 2, end - colon - 2);
    at = end + 2;
  }
  if (!has_body || !answer.has("content-length")) return answer;
  size_t length = std::stoul(answer.headers["content-length"]);
  while (pending_.size() < length && receive()) continue;
  answer.body = pending_.substr(0, length);
  pending_.erase(0, length);
  return answer;
}

HttpAnswer RawClient::ask(const std::string& method, const std::string& target,
                          const std::string& body, const std::string& headers) {
  send(fmt::format("{} {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n{}\r\n{}", method,
                   target, body.size(), headers, body));
  return read_answer(method != "HEAD");
}

}  // namespace opscore
