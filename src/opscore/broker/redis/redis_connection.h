#pragma once
// A connection to Redis that is made when it is needed, and made again when it has broken. For one
// thread, which it holds up for its time limit at most.

#include <string>
#include <vector>

#include "opscore/base/time.h"
#include "opscore/broker/redis/redis_url.h"
#include "opscore/broker/redis/resp.h"

namespace opscore {

class RedisConnection {
 public:
  RedisConnection(RedisUrl url, Duration call_timeout);
  ~RedisConnection() { close(); }
  RedisConnection(const RedisConnection&) = delete;

  // Sends the commands together and answers with a reply to each. Throws Error{unavailable} when
  // Redis is away, does not answer in time or refuses one: others may have been carried out. What
  // was sent on a connection that had broken unnoticed is sent again, so it must bear that.
  std::vector<RedisReply> ask(const std::vector<RedisCommand>& commands);

 private:
  void connect(Deadline deadline);
  void open_socket(const std::string& address, Deadline deadline);
  void greet(Deadline deadline);
  std::vector<RedisReply> exchange(const std::vector<RedisCommand>& commands, Deadline deadline);
  void send(std::string_view bytes, Deadline deadline);
  void receive(std::string& bytes, Deadline deadline);
  void wait(short events, Deadline deadline);
  void close();
  Error away(const std::string& why) const;

  const RedisUrl url_;
  const Duration call_timeout_;
  int socket_ = -1;
};

}  // namespace opscore
