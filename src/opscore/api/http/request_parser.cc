#include "opscore/api/http/request_parser.h"

#include <boost/beast/core/string.hpp>

namespace opscore {
namespace {

// Room that is set aside on a client's word alone.
constexpr std::uint64_t kReserveBytesMax = 1 << 20;

}  // namespace

void RequestParser::on_request_impl(Verb, View method, View target, int version, Code&) {
  request_.method.assign(method.data(), method.size());
  // The absolute form, "GET http://host/path": what clients send to proxies.
  if (target.starts_with("http://")) {
    size_t slash = target.find('/', 7);
    target = slash == View::npos ? View("/") : target.substr(slash);
  }
  size_t mark = target.find('?');
  View path = target.substr(0, mark);
  request_.path.assign(path.data(), path.size());
  if (mark != View::npos) {
    View query = target.substr(mark + 1);
    request_.query.assign(query.data(), query.size());
  }
  version_ = version;
  body_limit(handler_.route(request_));
}

void RequestParser::on_field_impl(Field field, View name, View value, Code&) {
  std::string_view text(value.data(), value.size());
  switch (field) {
    case Field::host:
      request_.host = text;
      break;
    case Field::origin:
      request_.origin = text;
      break;
    case Field::authorization:
      request_.authorization = text;
      break;
    case Field::content_type:
      request_.content_type = text;
      break;
    case Field::accept:
      if (!request_.accept.empty()) request_.accept += ',';
      request_.accept += text;
      break;
    case Field::expect:
      (boost::beast::iequals(value, "100-continue") ? expects_continue_ : expects_other_) = true;
      break;
    case Field::transfer_encoding:
      has_coding_ = true;
      break;
    case Field::unknown:
      if (boost::beast::iequals(name, "Idempotency-Key")) request_.idempotency_key = text;
      if (boost::beast::iequals(name, "Last-Event-ID")) request_.last_event_id = text;
      break;
    default:
      break;
  }
}

void RequestParser::on_body_init_impl(const boost::optional<std::uint64_t>& length, Code&) {
  if (length) request_.body.reserve(std::min(*length, kReserveBytesMax));
}

std::size_t RequestParser::on_body_impl(View body, Code&) {
  request_.body.append(body.data(), body.size());
  return body.size();
}

std::size_t RequestParser::on_chunk_body_impl(std::uint64_t, View body, Code&) {
  request_.body.append(body.data(), body.size());
  return body.size();
}

}  // namespace opscore
