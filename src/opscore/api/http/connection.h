#pragma once
// One client connection: reads a request, has it handled, writes the answer, and again. A coroutine
// on the edge thread, which is the only one to touch it. Kept alive by its coroutine.

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <functional>
#include <list>
#include <memory>
#include <optional>

#include "opscore/api/http/http_server.h"
#include "opscore/api/http/request_parser.h"
#include "opscore/api/refusals.h"

namespace opscore {

class Connection;

// A request's share of the memory that all bodies together may take.
class BodyHold {
 public:
  explicit BodyHold(std::shared_ptr<std::atomic<size_t>> total) : total_(std::move(total)) {}
  ~BodyHold() { *total_ -= bytes_; }
  BodyHold(const BodyHold&) = delete;
  void grow_to(size_t bytes) {
    *total_ += bytes - bytes_;
    bytes_ = bytes;
  }

 private:
  const std::shared_ptr<std::atomic<size_t>> total_;
  size_t bytes_ = 0;
};

// What all connections of a server share.
struct Edge {
  HttpHandler& handler;
  Log& log;
  Refusals& refusals;
  const HttpServerOptions options;
  std::string date;  // now, as a header value
  // Held by requests that are being read or handled; a request may end after the server.
  std::shared_ptr<std::atomic<size_t>> bodies_bytes = std::make_shared<std::atomic<size_t>>(0);
  bool draining = false;  // every answer closes its connection
  bool had_large_bodies = false;
  std::list<Connection*> idle;  // those between two requests, the longest idle first
};

class Connection {
 public:
  Connection(Edge& edge, boost::asio::ip::tcp::socket socket, ExchangeId id);
  ~Connection();
  Connection(const Connection&) = delete;

  // Returns when the connection is closed.
  boost::asio::awaitable<void> run();

  void answer(Response response);
  void open_stream(std::string content_type);
  void push(const std::string& bytes, bool last);

  // Enforces the time-outs and notices clients that left; called every second or so.
  void sweep(SteadyPoint now);
  // Closes when no request has begun.
  void close_if_idle();
  // The server needs the place: closes without an answer. Only for one of Edge::idle.
  void make_room();
  void cut();

 private:
  enum class Phase { idle, head, body, handling, streaming, writing, lingering };
  template <class T>
  using Awaitable = boost::asio::awaitable<T>;

  Awaitable<bool> read_request();
  Awaitable<bool> read_more();
  void make_room_to_read();
  Awaitable<bool> say_continue();
  Awaitable<void> exchange();
  Awaitable<bool> write_answer();
  Awaitable<bool> write_file(const BodyFile& file);
  Awaitable<void> write_stream();
  Awaitable<void> linger();
  Awaitable<void> wait_for_wake();

  void enter(Phase phase, Duration timeout);
  void leave_idle();
  bool check_head();
  std::optional<Response> head_refusal();
  void refuse(Refusal reason, Response response);
  void refuse_bytes(const boost::system::error_code& code);
  bool is_url_too_long() const;
  void track_body();
  bool client_left();
  void leave();
  void wake();
  void build_head(const Response& response, bool open_length);

  Edge& edge_;
  boost::asio::ip::tcp::socket socket_;
  const ExchangeId id_;
  Phase phase_ = Phase::idle;
  SteadyPoint entered_at_{};
  SteadyPoint deadline_ = SteadyPoint::max();
  bool timed_out_ = false;
  bool left_ = false;   // the client is gone, or was cut off
  bool close_ = false;  // after this answer

  std::vector<char> buffer_;  // bytes [begin_, end_) are not parsed yet
  size_t begin_ = 0, end_ = 0;
  std::optional<RequestParser> parser_;
  bool admitted_ = false;
  size_t body_received_ = 0;  // bytes since the head, framing included
  std::optional<std::list<Connection*>::iterator> idle_place_;  // in edge_.idle
  std::shared_ptr<BodyHold> body_hold_;
  bool head_only_ = false;  // HEAD: no body in the answer
  bool keep_alive_1_0_ = false;

  std::optional<Response> answer_;
  std::string head_;  // of the answer being written
  bool streaming_ = false;
  bool stream_ended_ = false;
  std::string unsent_;
  std::string sending_;
  uint64_t pieces_ = 0;  // pushed
  std::move_only_function<void()> resume_;
};

}  // namespace opscore
