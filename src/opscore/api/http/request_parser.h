#pragma once
// Beast's strict HTTP/1 parser, filling an ApiRequest directly: no container of fields in between.
// One object per request. Not thread-safe.

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/basic_parser.hpp>

#include "opscore/api/http/http_server.h"

namespace opscore {

class RequestParser final : public boost::beast::http::basic_parser<true> {
 public:
  RequestParser(HttpHandler& handler, size_t header_bytes_max) : handler_(handler) {
    header_limit(static_cast<std::uint32_t>(header_bytes_max));
    eager(true);
  }
  ApiRequest& request() { return request_; }
  bool http_1_0() const { return version_ == 10; }
  bool expects_continue() const { return expects_continue_; }
  // An Expect that is not 100-continue.
  bool expects_other() const { return expects_other_; }
  // A body whose length cannot be known: trusting it would let two servers disagree on where the
  // next request begins.
  bool unknown_coding() const { return has_coding_ && (!plain_chunked_ || http_1_0()); }
  bool has_request_line() const { return !request_.method.empty(); }
  // What is wrong with a head that Beast let pass; decided when it is complete.
  std::string_view head_problem() const { return head_problem_; }
  bool has_too_many_fields() const { return fields_ > kFieldsMax; }
  bool has_too_long_url() const { return url_too_long_; }
  // Chunk heads and trailers out of all proportion to the data in them.
  bool is_mostly_framing(size_t received) const {
    return received > kFramingFree + (1 + kFramingPerByte) * request_.body.size();
  }

  static constexpr size_t kFieldsMax = 100;
  static constexpr size_t kUrlBytesMax = 8 << 10;

 private:
  static constexpr size_t kMethodBytesMax = 32;
  static constexpr size_t kFramingFree = 64 << 10;
  static constexpr size_t kFramingPerByte = 16;

  using Code = boost::beast::error_code;
  using View = boost::beast::string_view;
  using Verb = boost::beast::http::verb;
  using Field = boost::beast::http::field;

  void read_target(View target);
  void take(std::optional<std::string>& to, std::string_view value, std::string_view name);
  void take(std::string& to, std::string_view value, std::string_view name);
  void on_request_impl(Verb verb, View method, View target, int version, Code& code) override;
  void on_response_impl(int, View, int, Code&) override {}
  void on_field_impl(Field field, View name, View value, Code& code) override;
  void on_header_impl(Code&) override { in_trailer_ = true; }
  void on_body_init_impl(const boost::optional<std::uint64_t>& length, Code&) override;
  std::size_t on_body_impl(View body, Code&) override;
  void on_chunk_header_impl(std::uint64_t, View, Code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, View body, Code&) override;
  void on_finish_impl(Code&) override {}

  HttpHandler& handler_;
  ApiRequest request_;
  int version_ = 11;
  bool expects_continue_ = false;
  bool expects_other_ = false;
  bool has_coding_ = false;
  bool plain_chunked_ = true;
  bool has_length_ = false;
  bool has_host_ = false;
  bool url_too_long_ = false;
  size_t fields_ = 0;
  bool in_trailer_ = false;
  std::string head_problem_;
};

}  // namespace opscore
