#include "opscore/api/http/connection.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/status.hpp>
#include <charconv>

#include "opscore/api/problem.h"

namespace opscore {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;

constexpr size_t kBufferBytes = 4 << 10;       // enough for a request, as long as it is small
constexpr size_t kBodyBufferBytes = 64 << 10;  // while a large body arrives
constexpr size_t kBytesPerSecond = 64 << 10;   // slower than this counts against the time-out
constexpr size_t kLargeBodies = 16 << 20;      // together
// A client may close its sending side right after the request; only who keeps us waiting for long
// is taken to have left then.
constexpr Duration kParked = std::chrono::seconds(2);

Response url_too_long() {
  return problem(kUrlTooLong,
                 fmt::format("the URL is over the limit of {} bytes", RequestParser::kUrlBytesMax));
}

Duration time_for(size_t bytes) {
  return Duration(static_cast<int64_t>(bytes * 1000 / kBytesPerSecond));
}

size_t body_bytes(const Response& response) {
  return response.file ? static_cast<size_t>(response.file->bytes()) : response.body.size();
}

}  // namespace

Connection::Connection(Edge& edge, asio::ip::tcp::socket socket, ExchangeId id)
    : edge_(edge), socket_(std::move(socket)), id_(id) {
  error_code ignored;
  socket_.non_blocking(true, ignored);
}

Connection::~Connection() {
  leave_idle();
}

Connection::Awaitable<void> Connection::run() {
  while (!close_ && !left_) {
    bool has_request = co_await read_request();
    if (!has_request) break;
    if (!answer_) co_await exchange();
    if (left_) break;
    bool sent = false;
    if (streaming_)
      co_await write_stream();
    else
      sent = co_await write_answer();
    if (sent && close_ && !parser_->is_done()) co_await linger();
  }
  error_code ignored;
  socket_.shutdown(asio::ip::tcp::socket::shutdown_both, ignored);
  socket_.close(ignored);
}

void Connection::leave_idle() {
  if (idle_place_) edge_.idle.erase(*idle_place_);
  idle_place_.reset();
}

void Connection::enter(Phase phase, Duration timeout) {
  leave_idle();
  if (phase == Phase::idle) idle_place_ = edge_.idle.insert(edge_.idle.end(), this);
  phase_ = phase;
  timed_out_ = false;
  entered_at_ = std::chrono::steady_clock::now();
  deadline_ = timeout == Duration::max() ? SteadyPoint::max() : entered_at_ + timeout;
}

// True when there is a request to handle, or an answer that refuses it.
Connection::Awaitable<bool> Connection::read_request() {
  parser_.emplace(edge_.handler, edge_.options.header_bytes_max);
  admitted_ = head_only_ = keep_alive_1_0_ = false;
  body_received_ = 0;
  enter(Phase::idle, edge_.options.idle_timeout);
  while (true) {
    // Stray line ends between two requests.
    while (begin_ < end_ && !parser_->got_some() &&
           (buffer_[begin_] == '\r' || buffer_[begin_] == '\n'))
      ++begin_;
    if (begin_ < end_) {
      if (phase_ == Phase::idle) enter(Phase::head, edge_.options.header_timeout);
      error_code code;
      asio::const_buffer bytes(buffer_.data() + begin_, end_ - begin_);
      size_t used = parser_->put(bytes, code);
      begin_ += used;
      if (admitted_) body_received_ += used;
      if (code && code != http::error::need_more) {
        refuse_bytes(code);
        co_return true;
      }
      if (parser_->is_header_done() && !admitted_) {
        if (!check_head()) co_return true;
        if (!parser_->is_done() && parser_->expects_continue()) {
          bool written = co_await say_continue();
          if (!written) co_return false;
        }
      }
      track_body();
      if (answer_ || parser_->is_done()) co_return true;
    }
    bool more = co_await read_more();
    if (!more) co_return answer_.has_value();
  }
}

// The head is complete. False when the request was refused.
bool Connection::check_head() {
  admitted_ = true;
  ApiRequest& request = parser_->request();
  request.has_body = parser_->chunked() || parser_->content_length_remaining().value_or(0) > 0 ||
                     !request.body.empty();
  head_only_ = request.method == "HEAD";
  close_ = !parser_->keep_alive() || edge_.draining;
  keep_alive_1_0_ = parser_->http_1_0() && !close_;
  std::optional<Response> refusal = head_refusal();
  if (!refusal) refusal = edge_.handler.admit(request);
  if (!refusal) {
    enter(Phase::body, edge_.options.body_timeout);
    return true;
  }
  // What is left of the body would be taken for the next request.
  if (!parser_->is_done()) refusal->close = true;
  answer_ = std::move(*refusal);
  return false;
}

// What HTTP itself has against the head.
std::optional<Response> Connection::head_refusal() {
  auto refuse = [this](Refusal reason, Response response) {
    edge_.refusals.note(reason, response.body);
    response.close = true;
    return response;
  };
  auto malformed = [&](std::string_view detail) {
    return refuse(Refusal::not_http, problem(Error(Errc::malformed, std::string(detail))));
  };
  const ApiRequest& request = parser_->request();
  if (!parser_->head_problem().empty()) return malformed(parser_->head_problem());
  if (parser_->has_too_long_url()) return refuse(Refusal::url_too_long, url_too_long());
  if (parser_->has_too_many_fields())
    return refuse(Refusal::head_too_large,
                  problem(kHeaderTooLarge,
                          fmt::format("the request has more than the {} header fields allowed",
                                      RequestParser::kFieldsMax)));
  if (!request.has_host && !parser_->http_1_0())
    return malformed("an HTTP/1.1 request needs a Host field");
  if (parser_->unknown_coding())
    return malformed("the only Transfer-Encoding understood is chunked, once, in HTTP/1.1");
  if (parser_->expects_other())
    return problem(kExpectationFailed, "the only Expect understood is 100-continue");
  if (!request.content_encoding.empty() && request.content_encoding != "identity")
    return refuse(Refusal::body_coding,
                  problem(kUnsupportedType,
                          "compressed bodies are not understood; send the body "
                          "as it is, without Content-Encoding"));
  return std::nullopt;
}

// The parser gives up before it has seen the whole head: is the request line to blame?
bool Connection::is_url_too_long() const {
  if (parser_->has_request_line()) return parser_->has_too_long_url();
  auto begin = buffer_.begin() + static_cast<std::ptrdiff_t>(begin_);
  auto end = buffer_.begin() + static_cast<std::ptrdiff_t>(end_);
  return std::find(begin, end, '\n') - begin >
         static_cast<std::ptrdiff_t>(RequestParser::kUrlBytesMax);
}

void Connection::refuse(Refusal reason, Response response) {
  edge_.refusals.note(reason, response.body);
  response.close = true;
  answer_ = std::move(response);
}

void Connection::refuse_bytes(const error_code& code) {
  if (code == http::error::header_limit && is_url_too_long())
    refuse(Refusal::url_too_long, url_too_long());
  else if (code == http::error::header_limit)
    refuse(Refusal::head_too_large,
           problem(kHeaderTooLarge, fmt::format("the request's head is over the limit of {} bytes",
                                                edge_.options.header_bytes_max)));
  else if (code == http::error::body_limit)
    refuse(Refusal::body_too_large,
           problem(Error(Errc::too_large, "the request's body is over the limit of this route")));
  else
    refuse(Refusal::not_http,
           problem(Error(Errc::malformed, "not an HTTP/1.1 request: " + code.message())));
}

// Bounds the memory that all bodies together take, from here until the request was handled.
void Connection::track_body() {
  if (phase_ != Phase::body || answer_) return;
  ApiRequest& request = parser_->request();
  if (request.body.capacity() > kBufferBytes) {
    if (!body_hold_) request.held = body_hold_ = std::make_shared<BodyHold>(edge_.bodies_bytes);
    body_hold_->grow_to(request.body.capacity());
    edge_.had_large_bodies |= *edge_.bodies_bytes > kLargeBodies;
    if (*edge_.bodies_bytes > edge_.options.bodies_bytes_max)
      return refuse(Refusal::overloaded,
                    problem(Error(Errc::overloaded, "too many large requests at once; try again")));
  }
  if (parser_->is_mostly_framing(body_received_))
    refuse(Refusal::not_http,
           problem(Error(Errc::malformed, "the chunks of the body hold next to no data")));
}

Connection::Awaitable<bool> Connection::read_more() {
  error_code code;
  auto token = asio::redirect_error(asio::use_awaitable, code);
  if (begin_ == end_) begin_ = end_ = 0;
  if (phase_ == Phase::idle && end_ == 0) {
    buffer_ = {};  // most connections are idle most of the time
    co_await socket_.async_wait(asio::ip::tcp::socket::wait_read, token);
    if (code) co_return false;
  }
  make_room_to_read();
  if (answer_) co_return false;
  asio::mutable_buffer room(buffer_.data() + end_, buffer_.size() - end_);
  size_t bytes = socket_.read_some(room, code);
  if (code == asio::error::would_block) bytes = co_await socket_.async_read_some(room, token);
  end_ += bytes;
  if (!code) {
    if (phase_ == Phase::body) deadline_ += time_for(bytes);
    co_return true;
  }
  if (timed_out_ && (phase_ == Phase::head || phase_ == Phase::body))
    refuse(Refusal::slow_request, problem(kRequestTimeout, "the request did not arrive in time"));
  co_return false;
}

void Connection::make_room_to_read() {
  bool large =
      phase_ == Phase::body && parser_->content_length_remaining().value_or(0) > kBufferBytes;
  size_t wanted = large ? kBodyBufferBytes : kBufferBytes;
  if (end_ == 0 && buffer_.size() != wanted) buffer_ = std::vector<char>(wanted);
  if (end_ < buffer_.size()) return;
  std::copy(buffer_.begin() + static_cast<std::ptrdiff_t>(begin_), buffer_.end(), buffer_.begin());
  end_ -= begin_;
  begin_ = 0;
  if (end_ < buffer_.size()) return;
  // The parser bounds a head by itself, but neither the head of a chunk nor a trailer.
  if (phase_ == Phase::body && end_ > edge_.options.header_bytes_max)
    return refuse(Refusal::not_http,
                  problem(Error(Errc::malformed, "a chunk's head or the trailer is too long")));
  buffer_.resize(buffer_.size() * 2);
}

Connection::Awaitable<bool> Connection::say_continue() {
  static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
  asio::const_buffer bytes(kContinue.data(), kContinue.size());
  error_code code;
  auto token = asio::redirect_error(asio::use_awaitable, code);
  co_await asio::async_write(socket_, bytes, token);
  co_return !code;
}

Connection::Awaitable<void> Connection::exchange() {
  enter(Phase::handling, Duration::max());
  ApiRequest request = std::move(parser_->request());
  body_hold_.reset();
  if (begin_ == end_) buffer_ = {};
  request.received_at = std::chrono::steady_clock::now();
  edge_.handler.handle(id_, std::move(request));
  while (!answer_ && !streaming_ && !left_) co_await wait_for_wake();
}

Connection::Awaitable<void> Connection::wait_for_wake() {
  auto initiate = [this](auto handler) { resume_ = std::move(handler); };
  co_await asio::async_initiate<const asio::use_awaitable_t<>&, void()>(initiate,
                                                                        asio::use_awaitable);
}

void Connection::wake() {
  if (auto resume = std::exchange(resume_, nullptr)) resume();
}

void Connection::answer(Response response) {
  if (phase_ != Phase::handling || answer_) return;
  answer_ = std::move(response);
  wake();
}

void Connection::open_stream(std::string content_type) {
  if (phase_ != Phase::handling || answer_ || streaming_) return;
  Response response;
  response.content_type = std::move(content_type);
  response.close = true;
  close_ = true;
  build_head(response, true);
  unsent_ = head_;
  streaming_ = true;
  error_code ignored;
  socket_.set_option(asio::socket_base::send_buffer_size(edge_.options.stream_buffer_bytes),
                     ignored);
  wake();
}

void Connection::push(const std::string& bytes, bool last) {
  if (!streaming_ || stream_ended_) return;
  stream_ended_ = last;
  unsent_ += bytes;
  ++pieces_;
  wake();
}

Connection::Awaitable<bool> Connection::write_answer() {
  Response response = std::move(*answer_);
  answer_.reset();
  if (response.close || edge_.draining) close_ = true;
  build_head(response, false);
  if (head_only_) response.body.clear();
  enter(Phase::writing, edge_.options.write_timeout + time_for(response.body.size()));
  std::array<asio::const_buffer, 2> bytes{asio::buffer(head_), asio::buffer(response.body)};
  error_code code;
  auto token = asio::redirect_error(asio::use_awaitable, code);
  co_await asio::async_write(socket_, bytes, token);
  if (code) left_ = true;
  if (code || !response.file || head_only_) co_return !code;
  bool sent = co_await write_file(*response.file);
  co_return sent;
}

// Read by the piece: a file may be larger than memory, and the page cache has most of what was
// written lately. A file that turns out shorter than promised ends the connection.
Connection::Awaitable<bool> Connection::write_file(const BodyFile& file) {
  std::vector<char> piece(kBodyBufferBytes);
  for (int64_t sent = 0; sent < file.bytes() && !left_;) {
    size_t wanted = static_cast<size_t>(
        std::min<int64_t>(static_cast<int64_t>(piece.size()), file.bytes() - sent));
    ssize_t got = ::pread(file.fd(), piece.data(), wanted, sent);
    if (got <= 0) {
      left_ = true;
      break;
    }
    sent += got;
    enter(Phase::writing, edge_.options.write_timeout);
    asio::const_buffer bytes(piece.data(), static_cast<size_t>(got));
    error_code code;
    auto token = asio::redirect_error(asio::use_awaitable, code);
    co_await asio::async_write(socket_, bytes, token);
    if (code) left_ = true;
  }
  co_return !left_;
}

Connection::Awaitable<void> Connection::write_stream() {
  while (!left_) {
    if (unsent_.empty()) {
      if (stream_ended_) break;
      enter(Phase::streaming, Duration::max());
      co_await wait_for_wake();
      continue;
    }
    sending_ = std::exchange(unsent_, {});
    enter(Phase::streaming, edge_.options.write_timeout);
    asio::const_buffer bytes = asio::buffer(sending_);
    error_code code;
    auto token = asio::redirect_error(asio::use_awaitable, code);
    co_await asio::async_write(socket_, bytes, token);
    sending_ = {};
    if (code)
      leave();
    else if (unsent_.empty())
      edge_.handler.drained(id_, pieces_);
  }
}

// Closing with unread bytes would reset the connection, and the client might never see the answer.
Connection::Awaitable<void> Connection::linger() {
  error_code code;
  socket_.shutdown(asio::ip::tcp::socket::shutdown_send, code);
  enter(Phase::lingering, edge_.options.linger_timeout);
  buffer_.resize(kBodyBufferBytes);
  asio::mutable_buffer room(buffer_.data(), buffer_.size());
  auto token = asio::redirect_error(asio::use_awaitable, code);
  while (!code) co_await socket_.async_read_some(room, token);
}

bool Connection::client_left() {
  char byte;
  auto got = ::recv(socket_.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

void Connection::leave() {
  if (left_) return;
  left_ = true;
  if (phase_ == Phase::handling || phase_ == Phase::streaming) edge_.handler.gone(id_);
  error_code ignored;
  socket_.cancel(ignored);
  wake();
}

void Connection::sweep(SteadyPoint now) {
  bool parked =
      (phase_ == Phase::handling && now - entered_at_ > kParked) || phase_ == Phase::streaming;
  if (parked && client_left()) return leave();
  if (now < deadline_ || timed_out_) return;
  if (phase_ == Phase::streaming) {
    edge_.refusals.note(Refusal::slow_reader, "a client does not read its event stream");
    return leave();
  }
  if (phase_ == Phase::writing)
    edge_.refusals.note(Refusal::slow_reader, "a client does not read its answer");
  timed_out_ = true;
  error_code ignored;
  socket_.cancel(ignored);
}

void Connection::close_if_idle() {
  error_code ignored;
  if (phase_ == Phase::idle) socket_.cancel(ignored);
}

void Connection::make_room() {
  error_code ignored;
  leave_idle();
  socket_.close(ignored);
}

void Connection::cut() {
  error_code ignored;
  leave();
  socket_.cancel(ignored);
}

// `open_length`: a stream, which ends with the connection.
void Connection::build_head(const Response& response, bool open_length) {
  auto reason = http::obsolete_reason(static_cast<http::status>(response.status));
  char digits[24];
  head_.assign("HTTP/1.1 ");
  head_.append(digits, std::to_chars(digits, digits + sizeof digits, response.status).ptr);
  head_.append(" ").append(reason.data(), reason.size());
  head_.append("\r\nDate: ").append(edge_.date);
  for (const auto& [name, value] : response.headers)
    head_.append("\r\n").append(name).append(": ").append(value);
  if (response.status != 204) head_.append("\r\nContent-Type: ").append(response.content_type);
  if (open_length)
    head_.append("\r\nCache-Control: no-store\r\nX-Accel-Buffering: no");
  else if (response.status != 204)
    head_.append("\r\nContent-Length: ")
        .append(digits, std::to_chars(digits, digits + sizeof digits, body_bytes(response)).ptr);
  if (close_ || response.close)
    head_.append("\r\nConnection: close");
  else if (keep_alive_1_0_)
    head_.append("\r\nConnection: keep-alive");
  head_.append("\r\n\r\n");
}

}  // namespace opscore
