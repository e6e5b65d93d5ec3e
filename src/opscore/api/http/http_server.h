#pragma once
// The HTTP/1.1 edge: sockets, parsing, limits and time-outs, on one thread of its own. It knows no
// routes; requests go to an HttpHandler, answers come back from any thread. Per connection one
// request is in work at a time, so pipelined requests are answered in order.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "opscore/api/refusals.h"
#include "opscore/api/request.h"
#include "opscore/base/log.h"
#include "opscore/base/time.h"

namespace opscore {

// Called on the edge thread; must not block and must not throw.
class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  // Method, path and query are known. Returns how many bytes of body are acceptable.
  virtual uint64_t route(ApiRequest& request) = 0;
  // The head is complete, the body not read yet. A response refuses the request.
  virtual std::optional<Response> admit(const ApiRequest& request) = 0;
  // The whole request. It is answered exactly once: by reply(), or by open_stream() and then push()
  // until `last`; unless gone() comes first.
  virtual void handle(ExchangeId id, ApiRequest request) = 0;
  // The first `pieces` that were pushed to the stream are on their way to the client.
  virtual void drained(ExchangeId id, uint64_t pieces) = 0;
  // The client left before its answer was complete; answers to `id` are ignored from now on.
  virtual void gone(ExchangeId id) = 0;
};

struct HttpServerOptions {
  std::string address = "127.0.0.1";
  uint16_t port = 8000;  // 0: any free one
  int listen_fd = -1;    // an already listening socket, which the server takes over

  size_t connections_max = 10'000;
  size_t header_bytes_max = 16 << 10;
  size_t bodies_bytes_max = 256 << 20;  // of all requests that are read or handled
  int stream_buffer_bytes = 64 << 10;   // of the kernel's, for one stream
  Duration header_timeout = std::chrono::seconds(30);
  Duration body_timeout = std::chrono::seconds(30);   // plus a second for every 64 KiB
  Duration write_timeout = std::chrono::seconds(30);  // likewise; and for a piece of a stream
  Duration idle_timeout = std::chrono::seconds(75);   // between requests
  Duration linger_timeout = std::chrono::seconds(5);  // for a refused body
  std::function<void()> on_progress = [] {};  // the edge is alive; each second or more often
};

// Thread-safe after construction. start() and stop() are idempotent; it cannot be started again.
class HttpServer {
 public:
  // All must outlive the server. Throws Error{unavailable} when it cannot listen.
  HttpServer(HttpHandler& handler, Log& log, Refusals& refusals, HttpServerOptions options);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;

  void start();
  // Accepts no more, closes idle connections, and closes each other one after its answer.
  void stop_accepting();
  // Waits until all connections are closed. False when the deadline came first.
  bool wait_idle(Deadline deadline);
  // Cuts what is still open and ends the thread.
  void stop();
  uint16_t port() const;

  // One wake-up of the edge for all of them.
  void reply(std::vector<Answer> answers);
  // Starts an answer of open length; the connection closes with its last byte.
  void open_stream(ExchangeId id, std::string content_type);
  void push(ExchangeId id, std::string bytes, bool last);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace opscore
