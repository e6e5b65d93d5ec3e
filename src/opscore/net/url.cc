#include "opscore/net/url.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <memory>

#include "opscore/base/json.h"

namespace opscore {
namespace {

struct UrlDelete {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
using UrlHandle = std::unique_ptr<CURLU, UrlDelete>;

std::string part(const UrlHandle& url, CURLUPart which) {
  char* text = nullptr;
  if (curl_url_get(url.get(), which, &text, 0) != CURLUE_OK) return {};
  std::string out(text);
  curl_free(text);
  return out;
}

std::string lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

// libcurl takes any number of slashes; nobody who writes another number means a host.
bool has_scheme(const std::string& text) {
  const size_t end = text.find("://");
  if (end == std::string::npos || end + 3 >= text.size() || text[end + 3] == '/') return false;
  const std::string scheme = lower(text.substr(0, end));
  return scheme == "http" || scheme == "https";
}

}  // namespace

std::expected<HttpUrl, std::string> parse_http_url(const std::string& text) {
  if (!has_scheme(text))
    return std::unexpected("must be a URL that starts with http:// or https://");
  if (text.find('\0') != std::string::npos) return std::unexpected("has a NUL character in it");
  const UrlHandle url(curl_url());
  const CURLUcode problem =
      url ? curl_url_set(url.get(), CURLUPART_URL, text.c_str(), 0) : CURLUE_OUT_OF_MEMORY;
  if (problem != CURLUE_OK)
    return std::unexpected(fmt::format("is not a URL: {}", curl_url_strerror(problem)));
  HttpUrl out;
  out.host = lower(part(url, CURLUPART_HOST));
  if (out.host.starts_with('[') && out.host.ends_with(']'))
    out.host = out.host.substr(1, out.host.size() - 2);
  out.has_credentials =
      !part(url, CURLUPART_USER).empty() || !part(url, CURLUPART_PASSWORD).empty();
  return out;
}

std::string printable_url(std::string_view url) {
  std::string out(url.substr(0, url.find_first_of("?#")));
  const size_t scheme = out.find("://");
  const size_t host = scheme == std::string::npos ? 0 : scheme + 3;
  const size_t path = std::min(out.find('/', host), out.size());
  const size_t at = out.rfind('@', path);
  if (at != std::string::npos && at >= host && at < path) out.erase(host, at + 1 - host);
  return to_valid_utf8(out);
}

}  // namespace opscore
