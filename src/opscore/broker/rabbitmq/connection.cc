#include "opscore/broker/rabbitmq/connection.h"

#if __has_include(<rabbitmq-c/amqp.h>)
#include <rabbitmq-c/amqp.h>
#include <rabbitmq-c/ssl_socket.h>
#include <rabbitmq-c/tcp_socket.h>
#else
#include <amqp.h>
#include <amqp_ssl_socket.h>
#include <amqp_tcp_socket.h>
#endif
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <array>
#include <cerrno>
#include <map>
#include <system_error>

#include "opscore/base/json.h"
#include "opscore/broker/rabbitmq/refusal_words.h"
#include "opscore/broker/resolve.h"

namespace opscore {
namespace {

constexpr amqp_channel_t kMessages = 1;
constexpr amqp_channel_t kQuestions = 2;
constexpr int kChannelMax = 8;
constexpr int kFrameMax = 131'072;
// How long to wait for the answer to a polite goodbye.
constexpr Duration kGoodbye{500};

amqp_bytes_t bytes_of(std::string_view text) {
  return {text.size(), const_cast<char*>(text.data())};
}

std::string text_of(amqp_bytes_t bytes) {
  return std::string(static_cast<const char*>(bytes.bytes), bytes.len);
}

timeval to_timeval(Duration left) {
  return {left.count() / 1000, (left.count() % 1000) * 1000};
}

amqp_table_entry_t entry(const char* key, amqp_field_value_t value) {
  return {amqp_cstring_bytes(key), value};
}

amqp_field_value_t text_value(std::string_view text) {
  amqp_field_value_t value;
  value.kind = AMQP_FIELD_KIND_UTF8;
  value.value.bytes = bytes_of(text);
  return value;
}

amqp_field_value_t bool_value(bool on) {
  amqp_field_value_t value;
  value.kind = AMQP_FIELD_KIND_BOOLEAN;
  value.value.boolean = on;
  return value;
}

amqp_field_value_t integer_value(int64_t number) {
  amqp_field_value_t value;
  value.kind = AMQP_FIELD_KIND_I64;
  value.value.i64 = number;
  return value;
}

amqp_field_value_t small_integer_value(int32_t number) {
  amqp_field_value_t value;
  value.kind = AMQP_FIELD_KIND_I32;
  value.value.i32 = number;
  return value;
}

amqp_field_value_t table_value(amqp_table_t table) {
  amqp_field_value_t value;
  value.kind = AMQP_FIELD_KIND_TABLE;
  value.value.table = table;
  return value;
}

// A consumer tag is a number, a dot and the queue.
std::string queue_of(amqp_bytes_t consumer) {
  std::string tag = text_of(consumer);
  return tag.substr(tag.find('.') + 1);
}

int64_t number_of(const amqp_field_value_t& value) {
  switch (value.kind) {
    case AMQP_FIELD_KIND_I64:
      return value.value.i64;
    case AMQP_FIELD_KIND_U64:
    case AMQP_FIELD_KIND_TIMESTAMP:
      return static_cast<int64_t>(value.value.u64);
    case AMQP_FIELD_KIND_I32:
      return value.value.i32;
    default:
      return 0;
  }
}

MessageDeath death_of(const amqp_table_t& table) {
  MessageDeath death;
  for (int i = 0; i < table.num_entries; ++i) {
    const std::string name = text_of(table.entries[i].key);
    const amqp_field_value_t& value = table.entries[i].value;
    const bool is_text = value.kind == AMQP_FIELD_KIND_UTF8 || value.kind == AMQP_FIELD_KIND_BYTES;
    if (name == "queue" && is_text) death.queue = to_valid_utf8(text_of(value.value.bytes));
    if (name == "reason" && is_text) death.reason = to_valid_utf8(text_of(value.value.bytes));
    if (name == "count") death.count = number_of(value);
    if (name == "time") death.at = from_ms(number_of(value) * 1000);  // in seconds
  }
  return death;
}

void read_headers(const amqp_table_t& headers, Delivered& delivered) {
  for (int i = 0; i < headers.num_entries; ++i) {
    const std::string name = to_valid_utf8(text_of(headers.entries[i].key));
    const amqp_field_value_t& value = headers.entries[i].value;
    if (value.kind == AMQP_FIELD_KIND_UTF8 || value.kind == AMQP_FIELD_KIND_BYTES)
      delivered.headers.emplace_back(name, to_valid_utf8(text_of(value.value.bytes)));
    if (name != "x-death" || value.kind != AMQP_FIELD_KIND_ARRAY) continue;
    const amqp_array_t& deaths = value.value.array;
    for (int n = 0; n < deaths.num_entries; ++n)
      if (deaths.entries[n].kind == AMQP_FIELD_KIND_TABLE)
        delivered.deaths.push_back(death_of(deaths.entries[n].value.table));
  }
}

// What the server gives as the reason when it closes a channel or the connection.
struct Closed {
  bool of_channel = false;
  uint16_t code = 0;
  std::string text;
};

std::optional<Closed> closed_by(const amqp_method_t& method) {
  if (method.id == AMQP_CHANNEL_CLOSE_METHOD) {
    auto* close = static_cast<amqp_channel_close_t*>(method.decoded);
    return Closed{true, close->reply_code, to_valid_utf8(text_of(close->reply_text))};
  }
  if (method.id == AMQP_CONNECTION_CLOSE_METHOD) {
    auto* close = static_cast<amqp_connection_close_t*>(method.decoded);
    return Closed{false, close->reply_code, to_valid_utf8(text_of(close->reply_text))};
  }
  return std::nullopt;
}

class RabbitConnection final : public Connection {
 public:
  RabbitConnection(const AmqpUrl& url, const ConnectionOptions& options)
      : url_(url), options_(options), where_(url.where()), state_(amqp_new_connection()) {
    if (!state_) throw std::bad_alloc();
  }
  ~RabbitConnection() override;
  RabbitConnection(const RabbitConnection&) = delete;

  void connect();

  std::optional<Incoming> next(Deadline deadline) override;
  const std::string& blocked() const override { return blocked_; }
  const std::string& where() const override { return where_; }
  bool broken() const override { return !healthy_; }
  std::optional<std::string> declare(const std::string& queue, Duration patience) override;
  std::optional<std::string> declare_missing(const std::string& queue,
                                             std::span<const QueueArgument> arguments,
                                             Duration patience) override;
  std::optional<std::string> declare_own(const std::string& queue, Duration patience) override;
  std::optional<QueueCounts> inspect(const std::string& queue) override;
  std::optional<Delivered> get(const std::string& queue) override;
  void confirm_publishes() override;
  void publish(const std::string& queue, std::string_view body, const PublishProperties& properties,
               Deadline deadline) override;
  std::optional<std::string> consume(const std::string& queue) override;
  void cancel(const std::string& queue) override;
  void ack(uint64_t tag, bool multiple) override;
  void reject(uint64_t tag, bool requeue) override;

 private:
  // A message whose frames are coming in.
  struct Partial {
    Incoming message;
    uint64_t missing = 0;
  };

  void open_socket();
  void log_in();
  void open_channel(amqp_channel_t channel);
  [[noreturn]] void fail(std::string_view doing, std::string_view why);
  void check_status(std::string_view doing, int status);
  // nullopt: it was done. Throws when the connection is gone.
  std::optional<Closed> check_reply(std::string_view doing, const amqp_rpc_reply_t& reply);
  void require_reply(std::string_view doing);
  // The same for the questions channel, which is opened again when it was closed.
  std::optional<Closed> answer_to_question(std::string_view doing);
  void limit_answers(Duration limit);
  enum class Kind : uint8_t { durable, existing, own };
  std::optional<Closed> ask_for_queue(const std::string& queue, Kind kind, amqp_table_t arguments,
                                      Duration patience);
  // The client library waits without end for room to send, so nothing is sent without it.
  void wait_for_room(std::string_view doing, Deadline deadline);
  void wait_for_room(std::string_view doing);
  std::string refusal(const Closed& closed, const std::string& queue) const;
  std::optional<Incoming> take_frame(const amqp_frame_t& frame);
  std::optional<Incoming> take_method(const amqp_frame_t& frame);
  void take_header(const amqp_frame_t& frame);
  std::optional<Incoming> complete();

  const AmqpUrl url_;
  const ConnectionOptions options_;
  const std::string where_;
  amqp_connection_state_t state_;
  bool healthy_ = false;
  std::string blocked_;
  std::optional<Partial> partial_;
  bool getting_ = false;  // it is what get() asked for
  uint64_t last_consumer_ = 0;
  std::map<std::string, std::string> consumers_;  // queue -> consumer tag
};

// ---------------------------------------------------------------- opening and closing

void RabbitConnection::connect() {
  open_socket();
  log_in();
  limit_answers(options_.call_timeout);
  open_channel(kMessages);
  open_channel(kQuestions);
  if (options_.prefetch > 0) {
    amqp_basic_qos(state_, kMessages, 0, options_.prefetch, 0);
    require_reply("limit unanswered deliveries");
  }
  healthy_ = true;
}

void RabbitConnection::open_socket() {
  Deadline deadline = Deadline::after(url_.connection_timeout);
  amqp_socket_t* socket = url_.tls ? amqp_ssl_socket_new(state_) : amqp_tcp_socket_new(state_);
  if (!socket) fail("connect", "cannot make a socket");
  if (url_.tls) {
    amqp_ssl_socket_set_verify_peer(socket, url_.verify);
    amqp_ssl_socket_set_verify_hostname(socket, url_.verify);
    if (url_.verify && amqp_ssl_socket_set_cacert(socket, url_.ca_file.c_str()) != AMQP_STATUS_OK)
      fail("connect", fmt::format("cannot read the certificates in '{}'", url_.ca_file));
    if (!url_.certificate_file.empty() &&
        amqp_ssl_socket_set_key(socket, url_.certificate_file.c_str(), url_.key_file.c_str()) !=
            AMQP_STATUS_OK)
      fail("connect", fmt::format("cannot use the certificate '{}' with the key '{}'",
                                  url_.certificate_file, url_.key_file));
  }
  // The library would look names up without a limit of time; certificates need the name.
  auto addresses = resolve(url_.host, deadline);
  if (!addresses) fail("connect", addresses.error().message());
  if (url_.tls) *addresses = {url_.host};
  int status = AMQP_STATUS_TIMEOUT;
  for (const std::string& address : *addresses) {
    timeval limit = to_timeval(std::max(deadline.left(), Duration(1)));
    status = amqp_socket_open_noblock(socket, address.c_str(), url_.port, &limit);
    if (status == AMQP_STATUS_OK) return;
  }
  if (status == AMQP_STATUS_SOCKET_ERROR)
    fail("connect", "refused: nothing listens there, or a firewall is in between");
  check_status("connect", status);
}

void RabbitConnection::log_in() {
  const std::string name = options_.name();
  std::array capabilities{
      entry("authentication_failure_close", bool_value(true)),
      entry("basic.nack", bool_value(true)),
      entry("connection.blocked", bool_value(true)),
      entry("consumer_cancel_notify", bool_value(true)),
      entry("publisher_confirms", bool_value(true)),
  };
  amqp_table_t capability_table{static_cast<int>(capabilities.size()), capabilities.data()};
  std::vector properties{
      entry("product", text_value("opscore")),
      entry("connection_name", text_value(name)),
      entry("capabilities", table_value(capability_table)),
  };
  for (const auto& [key, value] : options_.properties)
    properties.push_back(entry(key.c_str(), text_value(value)));
  amqp_table_t table{static_cast<int>(properties.size()), properties.data()};
  timeval limit = to_timeval(url_.connection_timeout);
  check_status("set a limit of time", amqp_set_handshake_timeout(state_, &limit));
  amqp_rpc_reply_t reply = amqp_login_with_properties(
      state_, url_.vhost.c_str(), kChannelMax, kFrameMax, static_cast<int>(url_.heartbeat.count()),
      &table, AMQP_SASL_METHOD_PLAIN, url_.user.c_str(), url_.password.c_str());
  if (auto closed = check_reply("log in", reply))
    fail("log in", explain_refused_login(closed->code, closed->text, url_));
  amqp_maybe_release_buffers(state_);
}

void RabbitConnection::limit_answers(Duration limit) {
  timeval time = to_timeval(limit);
  check_status("set a limit of time", amqp_set_rpc_timeout(state_, &time));
}

void RabbitConnection::open_channel(amqp_channel_t channel) {
  wait_for_room("open a channel");
  amqp_channel_open(state_, channel);
  require_reply("open a channel");
}

RabbitConnection::~RabbitConnection() {
  if (healthy_) {
    timeval limit = to_timeval(kGoodbye);
    amqp_set_rpc_timeout(state_, &limit);
    amqp_connection_close(state_, AMQP_REPLY_SUCCESS);
  }
  // So that nothing below waits for the other side.
  if (int fd = amqp_get_sockfd(state_); fd >= 0) ::shutdown(fd, SHUT_RDWR);
  amqp_destroy_connection(state_);
}

// ---------------------------------------------------------------- errors

void RabbitConnection::fail(std::string_view doing, std::string_view why) {
  healthy_ = false;
  throw Error(Errc::unavailable, fmt::format("RabbitMQ at {}: cannot {}: {}", where_, doing, why));
}

void RabbitConnection::check_status(std::string_view doing, int status) {
  if (status == AMQP_STATUS_OK) return;
  if (status == AMQP_STATUS_HEARTBEAT_TIMEOUT)
    fail(doing, fmt::format("nothing came for two heartbeats of {} s: the server or the network "
                            "between stands still",
                            url_.heartbeat.count()));
  if (status == AMQP_STATUS_TIMEOUT) fail(doing, "no answer in time");
  if (status == AMQP_STATUS_SSL_PEER_VERIFY_FAILED)
    fail(doing, fmt::format("its certificate is not signed by any in '{}' (cacertfile=, or "
                            "verify=verify_none to trust anyone)",
                            url_.ca_file));
  if (status == AMQP_STATUS_SSL_HOSTNAME_VERIFY_FAILED)
    fail(doing, fmt::format("its certificate is not for '{}'", url_.host));
  fail(doing, amqp_error_string2(status));
}

std::optional<Closed> RabbitConnection::check_reply(std::string_view doing,
                                                    const amqp_rpc_reply_t& reply) {
  if (reply.reply_type == AMQP_RESPONSE_NORMAL) return std::nullopt;
  if (reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION)
    if (auto closed = closed_by(reply.reply)) {
      if (!closed->of_channel && healthy_) fail(doing, closed->text);
      return closed;
    }
  check_status(doing, reply.library_error == AMQP_STATUS_OK ? AMQP_STATUS_UNEXPECTED_STATE
                                                            : reply.library_error);
  fail(doing, "an unexpected answer");
}

void RabbitConnection::require_reply(std::string_view doing) {
  if (auto closed = check_reply(doing, amqp_get_rpc_reply(state_))) fail(doing, closed->text);
}

std::optional<Closed> RabbitConnection::answer_to_question(std::string_view doing) {
  auto closed = check_reply(doing, amqp_get_rpc_reply(state_));
  if (!closed) return std::nullopt;
  amqp_channel_close_ok_t ok{};
  wait_for_room(doing);
  check_status(doing, amqp_send_method(state_, kQuestions, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok));
  open_channel(kQuestions);
  return closed;
}

void RabbitConnection::wait_for_room(std::string_view doing, Deadline deadline) {
  pollfd socket{amqp_get_sockfd(state_), POLLOUT, 0};
  for (;;) {
    int ready =
        ::poll(&socket, 1, static_cast<int>(std::min(deadline.left(), Duration(60'000)).count()));
    if (ready > 0) return;
    if (ready < 0 && errno != EINTR) fail(doing, std::generic_category().message(errno));
    if (ready == 0 && deadline.passed())
      fail(doing, "it does not read what is sent: the server or the network between stands still");
  }
}

void RabbitConnection::wait_for_room(std::string_view doing) {
  wait_for_room(doing, Deadline::after(options_.call_timeout));
}

// ---------------------------------------------------------------- reading

std::optional<Incoming> RabbitConnection::next(Deadline deadline) {
  for (;;) {
    amqp_frame_t frame;
    timeval limit = to_timeval(deadline.left());
    int status = amqp_simple_wait_frame_noblock(state_, &frame, &limit);
    if (status == AMQP_STATUS_TIMEOUT) return std::nullopt;
    check_status("receive", status);
    auto incoming = take_frame(frame);
    if (!amqp_frames_enqueued(state_)) amqp_maybe_release_buffers(state_);
    if (incoming) return incoming;
  }
}

std::optional<Incoming> RabbitConnection::take_frame(const amqp_frame_t& frame) {
  if (frame.frame_type == AMQP_FRAME_METHOD) return take_method(frame);
  if (!partial_) return std::nullopt;
  if (frame.frame_type == AMQP_FRAME_HEADER) {
    take_header(frame);
  } else if (frame.frame_type == AMQP_FRAME_BODY) {
    amqp_bytes_t part = frame.payload.body_fragment;
    partial_->missing -= std::min<uint64_t>(part.len, partial_->missing);
    if (auto* delivered = std::get_if<Delivered>(&partial_->message)) {
      size_t room = options_.body_bytes_max - delivered->body.size();
      delivered->body.append(static_cast<const char*>(part.bytes), std::min(part.len, room));
    }
  }
  return partial_->missing == 0 ? complete() : std::nullopt;
}

void RabbitConnection::take_header(const amqp_frame_t& frame) {
  partial_->missing = frame.payload.properties.body_size;
  auto* delivered = std::get_if<Delivered>(&partial_->message);
  if (!delivered) return;
  delivered->size = partial_->missing;
  auto* properties = static_cast<amqp_basic_properties_t*>(frame.payload.properties.decoded);
  if (properties->_flags & AMQP_BASIC_PRIORITY_FLAG) delivered->priority = properties->priority;
  if (getting_ && properties->_flags & AMQP_BASIC_HEADERS_FLAG)
    read_headers(properties->headers, *delivered);
}

std::optional<Incoming> RabbitConnection::complete() {
  std::optional<Incoming> incoming = std::move(partial_->message);
  partial_.reset();
  return incoming;
}

// layout: table
std::optional<Incoming> RabbitConnection::take_method(const amqp_frame_t& frame) {
  const amqp_method_t& method = frame.payload.method;
  switch (method.id) {
    case AMQP_BASIC_DELIVER_METHOD: {
      auto* deliver = static_cast<amqp_basic_deliver_t*>(method.decoded);
      Delivered delivered;
      delivered.tag = deliver->delivery_tag;
      delivered.queue = queue_of(deliver->consumer_tag);
      delivered.redelivered = deliver->redelivered != 0;
      partial_ = Partial{std::move(delivered)};
      return std::nullopt;
    }
    case AMQP_BASIC_RETURN_METHOD: {
      auto* returned = static_cast<amqp_basic_return_t*>(method.decoded);
      partial_ = Partial{Returned{text_of(returned->routing_key)}};
      return std::nullopt;
    }
    case AMQP_BASIC_ACK_METHOD: {
      auto* ack = static_cast<amqp_basic_ack_t*>(method.decoded);
      return Confirmed{ack->delivery_tag, ack->multiple != 0, true};
    }
    case AMQP_BASIC_NACK_METHOD: {
      auto* nack = static_cast<amqp_basic_nack_t*>(method.decoded);
      return Confirmed{nack->delivery_tag, nack->multiple != 0, false};
    }
    case AMQP_BASIC_CANCEL_METHOD: {
      auto* cancel = static_cast<amqp_basic_cancel_t*>(method.decoded);
      return ConsumerCancelled{queue_of(cancel->consumer_tag)};
    }
    case AMQP_CONNECTION_BLOCKED_METHOD: {
      auto* blocked = static_cast<amqp_connection_blocked_t*>(method.decoded);
      blocked_ = to_valid_utf8(text_of(blocked->reason));
      if (blocked_.empty()) blocked_ = "it gives no reason";
      return std::nullopt;
    }
    case AMQP_CONNECTION_UNBLOCKED_METHOD:
      blocked_.clear();
      return std::nullopt;
    default:
      break;
  }
  if (auto closed = closed_by(method)) fail("go on", "it closed the connection: " + closed->text);
  return std::nullopt;
}

// ---------------------------------------------------------------- queues

std::optional<std::string> RabbitConnection::declare(const std::string& queue, Duration patience) {
  std::array arguments{entry("x-queue-type", text_value(options_.queue_type)),
                       entry("x-delivery-limit", integer_value(kDeliveryLimit))};
  amqp_table_t table{options_.queue_type == "quorum" ? 2 : 1, arguments.data()};
  auto closed = ask_for_queue(queue, Kind::durable, table, patience);
  if (!closed) return std::nullopt;
  return refusal(*closed, queue);
}

std::optional<std::string> RabbitConnection::declare_missing(
    const std::string& queue, std::span<const QueueArgument> arguments, Duration patience) {
  auto closed = ask_for_queue(queue, Kind::existing, amqp_empty_table, patience);
  if (!closed) return std::nullopt;
  if (closed->code != AMQP_NOT_FOUND) return refusal(*closed, queue);
  std::vector<amqp_table_entry_t> entries;
  for (const QueueArgument& argument : arguments) {
    auto* number = std::get_if<int32_t>(&argument.value);
    entries.push_back(
        entry(argument.name.c_str(), number ? small_integer_value(*number)
                                            : text_value(std::get<std::string>(argument.value))));
  }
  closed = ask_for_queue(queue, Kind::durable, {static_cast<int>(entries.size()), entries.data()},
                         patience);
  if (!closed) return std::nullopt;
  return refusal(*closed, queue);
}

std::optional<std::string> RabbitConnection::declare_own(const std::string& queue,
                                                         Duration patience) {
  auto closed = ask_for_queue(queue, Kind::own, amqp_empty_table, patience);
  if (!closed) return std::nullopt;
  return refusal(*closed, queue);
}

std::optional<Closed> RabbitConnection::ask_for_queue(const std::string& queue, Kind kind,
                                                      amqp_table_t arguments, Duration patience) {
  const std::string doing = fmt::format("declare queue '{}'", queue);
  wait_for_room(doing);
  limit_answers(patience);
  const bool is_own = kind == Kind::own;
  amqp_queue_declare(state_, kQuestions, bytes_of(queue), kind == Kind::existing, !is_own, is_own,
                     is_own, arguments);
  limit_answers(options_.call_timeout);
  return answer_to_question(doing);
}

std::string RabbitConnection::refusal(const Closed& closed, const std::string& queue) const {
  if (options_.other_queues)
    return explain_refused_other_queue(closed.code, closed.text, queue, url_);
  return explain_refused_queue(closed.code, closed.text, queue, options_.queue_type, url_);
}

std::optional<QueueCounts> RabbitConnection::inspect(const std::string& queue) {
  wait_for_room("ask about a queue");
  auto* counts =
      amqp_queue_declare(state_, kQuestions, bytes_of(queue), 1, 1, 0, 0, amqp_empty_table);
  std::optional<QueueCounts> answer;
  if (counts) answer = QueueCounts{counts->message_count, counts->consumer_count};
  auto closed = answer_to_question(fmt::format("ask about queue '{}'", queue));
  if (closed && closed->code != AMQP_NOT_FOUND) fail("ask about a queue", refusal(*closed, queue));
  return answer;
}

std::optional<std::string> RabbitConnection::consume(const std::string& queue) {
  wait_for_room("consume");
  // Why: RabbitMQ 3.10 loses its channel when a tag is used again while deliveries of its first
  // consumer are not answered.
  std::string consumer = fmt::format("{}.{}", ++last_consumer_, queue);
  amqp_basic_consume(state_, kMessages, bytes_of(queue), bytes_of(consumer), 0, 0, 0,
                     amqp_empty_table);
  consumers_[queue] = consumer;
  auto closed = check_reply(fmt::format("consume queue '{}'", queue), amqp_get_rpc_reply(state_));
  if (!closed) return std::nullopt;
  return refusal(*closed, queue);
}

void RabbitConnection::cancel(const std::string& queue) {
  wait_for_room("stop consuming");
  amqp_basic_cancel(state_, kMessages, bytes_of(consumers_.at(queue)));
  require_reply(fmt::format("stop consuming queue '{}'", queue));
}

std::optional<Delivered> RabbitConnection::get(const std::string& queue) {
  const std::string doing = fmt::format("look into queue '{}'", queue);
  wait_for_room(doing);
  amqp_rpc_reply_t reply = amqp_basic_get(state_, kMessages, bytes_of(queue), 0);
  if (auto closed = check_reply(doing, reply)) fail(doing, refusal(*closed, queue));
  if (reply.reply.id != AMQP_BASIC_GET_OK_METHOD) return std::nullopt;
  auto* ok = static_cast<amqp_basic_get_ok_t*>(reply.reply.decoded);
  Delivered delivered;
  delivered.tag = ok->delivery_tag;
  delivered.queue = queue;
  delivered.redelivered = ok->redelivered != 0;
  partial_ = Partial{std::move(delivered)};
  getting_ = true;
  auto incoming = next(Deadline::after(options_.call_timeout));
  getting_ = false;
  if (!incoming) fail(doing, "the message did not come in time");
  return std::get<Delivered>(*std::move(incoming));
}

// ---------------------------------------------------------------- messages

void RabbitConnection::confirm_publishes() {
  wait_for_room("ask for confirms");
  amqp_confirm_select(state_, kMessages);
  require_reply("ask for confirms");
}

void RabbitConnection::publish(const std::string& queue, std::string_view body,
                               const PublishProperties& wanted, Deadline deadline) {
  amqp_basic_properties_t properties{};
  properties._flags = AMQP_BASIC_DELIVERY_MODE_FLAG;
  properties.delivery_mode = AMQP_DELIVERY_PERSISTENT;
  if (!wanted.content_type.empty()) {
    properties._flags |= AMQP_BASIC_CONTENT_TYPE_FLAG;
    properties.content_type = bytes_of(wanted.content_type);
  }
  if (wanted.priority) {
    properties._flags |= AMQP_BASIC_PRIORITY_FLAG;
    properties.priority = *wanted.priority;
  }
  std::vector<amqp_table_entry_t> headers;
  for (const auto& [name, value] : wanted.headers)
    headers.push_back(entry(name.c_str(), text_value(value)));
  if (!headers.empty()) {
    properties._flags |= AMQP_BASIC_HEADERS_FLAG;
    properties.headers = {static_cast<int>(headers.size()), headers.data()};
  }
  wait_for_room("publish", deadline);
  check_status("publish", amqp_basic_publish(state_, kMessages, amqp_empty_bytes, bytes_of(queue),
                                             1, 0, &properties, bytes_of(body)));
}

void RabbitConnection::ack(uint64_t tag, bool multiple) {
  wait_for_room("answer a delivery");
  check_status("answer a delivery", amqp_basic_ack(state_, kMessages, tag, multiple));
}

void RabbitConnection::reject(uint64_t tag, bool requeue) {
  wait_for_room("give a delivery back");
  check_status("give a delivery back", amqp_basic_reject(state_, kMessages, tag, requeue));
}

}  // namespace

std::unique_ptr<Connection> Connection::open(const AmqpUrl& url, const ConnectionOptions& options) {
  auto connection = std::make_unique<RabbitConnection>(url, options);
  connection->connect();
  return connection;
}

}  // namespace opscore
