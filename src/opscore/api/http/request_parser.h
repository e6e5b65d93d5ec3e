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
  bool unknown_coding() const { return has_coding_ && !chunked(); }

 private:
  using Code = boost::beast::error_code;
  using View = boost::beast::string_view;
  using Verb = boost::beast::http::verb;
  using Field = boost::beast::http::field;

  void on_request_impl(Verb verb, View method, View target, int version, Code& code) override;
  void on_response_impl(int, View, int, Code&) override {}
  void on_field_impl(Field field, View name, View value, Code& code) override;
  void on_header_impl(Code&) override {}
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
};

}  // namespace opscore
