#include "opscore/app/cli/api_client.h"

#include <fmt/format.h>

#include "opscore/base/json_reader.h"
#include "opscore/net/http_client.h"

namespace opscore {
namespace {

constexpr Duration kIdleMax = std::chrono::seconds(60);  // without a byte of a download

class HttpApiClient final : public ApiClient {
 public:
  HttpApiClient(const Config& config, std::stop_token stop, Duration patience)
      : stop_(std::move(stop)),
        patience_(patience),
        url_(config.server_url()),
        origin_(config.client.url.empty() ? config.origin_of("server.port")
                                          : config.origin_of("client.url")),
        token_(config.server.token) {
    while (url_.ends_with('/')) url_.pop_back();
    if (url_.ends_with("/api/v1")) url_.resize(url_.size() - 7);
  }

  ApiAnswer call(const std::string& method, const std::string& path,
                 const std::string& body) override {
    HttpRequest request = make_request(method, path);
    if (!body.empty()) request.headers.emplace_back("Content-Type", "application/json");
    request.body = body;
    return send(request, Deadline::after(patience_));
  }

  ApiAnswer download(const std::string& path,
                     const std::function<void(std::string_view)>& take) override {
    HttpRequest request = make_request("GET", path);
    request.idle_timeout = kIdleMax;
    request.on_body = [&](std::string_view piece) {
      take(piece);
      return true;
    };
    return send(request, Deadline::never());
  }

 private:
  HttpRequest make_request(const std::string& method, const std::string& path) const {
    HttpRequest request;
    request.method = method;
    request.url = url_ + "/api/v1" + path;
    request.headers = {{"Accept", "application/json"}, {"User-Agent", "opscore"}};
    if (!token_.empty()) request.headers.emplace_back("Authorization", "Bearer " + token_);
    return request;
  }

  ApiAnswer send(const HttpRequest& request, Deadline deadline) {
    try {
      HttpResponse response = http_.send(request, stop_, deadline);
      return {response.status, std::move(response.body)};
    } catch (const Error& error) {
      if (error.code() != Errc::unavailable && error.code() != Errc::malformed) throw;
      throw Error(Errc::unavailable,
                  fmt::format("{}\nno opscore server answers at {} ({}). Start one with: opscore "
                              "up; or name another with --url",
                              error.what(), printable_url(url_), origin_.words()));
    }
  }

  const std::stop_token stop_;
  const Duration patience_;
  std::string url_;
  Origin origin_;
  std::string token_;
  HttpClient http_;
};

}  // namespace

std::unique_ptr<ApiClient> make_http_api_client(const Config& config, std::stop_token stop,
                                                Duration patience) {
  return std::make_unique<HttpApiClient>(config, std::move(stop), patience);
}

std::string percent_encode(std::string_view text) {
  std::string out;
  for (char c : text) {
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                 c == '-' || c == '_' || c == '.' || c == '~';
    if (plain)
      out += c;
    else
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

std::string_view raw_member(std::string_view object, std::string_view name) {
  std::string_view found;
  JsonReader in(object);
  in.object([&](std::string_view member) {
    std::string_view value = in.raw();
    if (member == name) found = value;
  });
  return found;
}

std::string refusal_words(const ApiAnswer& answer) {
  Json problem = Json::parse(answer.body, nullptr, false);
  if (problem.is_object() && problem.contains("detail") && problem["detail"].is_string()) {
    std::string words = problem["detail"].get<std::string>();
    if (answer.status == 401)
      words += "\nset OPSCORE_API_TOKEN to the server's token, or name a --token-file";
    return words;
  }
  return fmt::format("HTTP status {}, without an explanation; is it opscore that listens there?",
                     answer.status);
}

}  // namespace opscore
