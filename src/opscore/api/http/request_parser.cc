#include "opscore/api/http/request_parser.h"

#include <fmt/format.h>

#include <boost/beast/core/string.hpp>
#include <utility>

#include "opscore/base/json.h"

namespace opscore {
namespace {

// Room that is set aside on a client's word alone.
constexpr std::uint64_t kReserveBytesMax = 1 << 20;

}  // namespace

// "http://host/path", what clients send to proxies, names the host; it counts, not the Host field.
void RequestParser::read_target(View target) {
  for (View scheme : {View("http://"), View("https://")}) {
    if (!boost::beast::iequals(target.substr(0, scheme.size()), scheme)) continue;
    target.remove_prefix(scheme.size());
    size_t end = std::min(target.find_first_of("/?"), target.size());
    View authority = target.substr(0, end);
    request_.host.assign(authority.data(), authority.size());
    request_.has_host = true;
    target.remove_prefix(end);
    if (target.empty()) target = "/";
    break;
  }
  size_t mark = target.find('?');
  View path = target.substr(0, mark);
  request_.path.assign(path.data(), path.size());
  if (mark == View::npos) return;
  View query = target.substr(mark + 1);
  request_.query.assign(query.data(), query.size());
}

// A field of which there is one: of two that differ nobody knows which one was meant.
void RequestParser::take(std::optional<std::string>& to, std::string_view value,
                         std::string_view name) {
  if (to && *to != value)
    head_problem_ = fmt::format("there are several {} fields, and they differ", name);
  to = value;
}

void RequestParser::take(std::string& to, std::string_view value, std::string_view name) {
  std::optional<std::string> had = to.empty() ? std::nullopt : std::optional(to);
  take(had, value, name);
  to = value;
}

void RequestParser::on_request_impl(Verb, View method, View target, int version, Code&) {
  if (method.size() > kMethodBytesMax) head_problem_ = "the method is too long";
  request_.method.assign(method.data(), std::min(method.size(), kMethodBytesMax));
  url_too_long_ = target.size() > kUrlBytesMax;
  if (!is_valid_utf8({target.data(), target.size()})) head_problem_ = "the URL is not UTF-8";
  read_target(target);
  version_ = version;
  body_limit(handler_.route(request_));
}

void RequestParser::on_field_impl(Field field, View name, View value, Code&) {
  // What comes after a chunked body may not change what was decided before it.
  if (in_trailer_) return;
  ++fields_;
  std::string_view text(value.data(), value.size());
  switch (field) {
    case Field::host:
      if (std::exchange(has_host_, true)) head_problem_ = "there are several Host fields";
      if (!request_.has_host) request_.host = text;
      request_.has_host = true;
      break;
    case Field::origin:
      take(request_.origin, text, "Origin");
      request_.from_browser = true;
      break;
    case Field::referer:
      request_.from_browser = true;
      break;
    case Field::user_agent:
      request_.from_browser |= text.starts_with("Mozilla/");
      break;
    case Field::authorization:
      take(request_.authorization, text, "Authorization");
      break;
    case Field::content_type:
      take(request_.content_type, text, "Content-Type");
      break;
    case Field::content_encoding:
      if (!request_.content_encoding.empty()) request_.content_encoding += ',';
      request_.content_encoding += text;
      break;
    case Field::content_length:
      if (std::exchange(has_length_, true)) head_problem_ = "there are several Content-Lengths";
      if (text.find(',') != text.npos) head_problem_ = "Content-Length is a list";
      break;
    case Field::accept:
      if (!request_.accept.empty()) request_.accept += ',';
      request_.accept += text;
      break;
    case Field::expect:
      (boost::beast::iequals(value, "100-continue") ? expects_continue_ : expects_other_) = true;
      break;
    case Field::sec_fetch_site:
      request_.from_browser = true;
      request_.same_site &= text == "same-origin" || text == "none";
      break;
    case Field::transfer_encoding:
      plain_chunked_ = !std::exchange(has_coding_, true) && boost::beast::iequals(value, "chunked");
      break;
    case Field::unknown:
      if (boost::beast::iequals(name, "Idempotency-Key"))
        take(request_.idempotency_key, text, "Idempotency-Key");
      if (boost::beast::iequals(name, "Last-Event-ID"))
        take(request_.last_event_id, text, "Last-Event-ID");
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
