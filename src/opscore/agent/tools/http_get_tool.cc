#include "opscore/agent/tools/http_get_tool.h"

#include <fmt/format.h>

#include <algorithm>

#include "opscore/agent/tools/builtin_tools.h"

namespace opscore {
namespace {

constexpr size_t kErrorBytes = 1000;  // of an answer that is not 2xx

// A cut may have gone through a character.
std::string_view without_half_character(std::string_view text) {
  for (int bytes = 0; bytes < 4 && !is_valid_utf8(text); ++bytes) text.remove_suffix(!text.empty());
  return text;
}

class HttpGet final : public Tool {
 public:
  HttpGet(HttpClient& http, const AddressGuard& guard, HttpGetLimits limits)
      : http_(http), guard_(guard), limits_(limits) {}

  const ToolSpec& spec() const override { return spec_; }

  std::expected<std::string, std::string> call(const Json& arguments,
                                               const ToolContext& context) const override {
    if (auto problem = unknown_argument(arguments, spec_)) return std::unexpected(*problem);
    const auto url = arguments.find("url");
    if (url == arguments.end() || !url->is_string())
      return std::unexpected("http_get needs the argument 'url', a string");
    HttpRequest request;
    request.url = url->get<std::string>();
    request.headers = {{"Accept", "text/*, application/json;q=0.9, */*;q=0.1"}};
    request.body_bytes_max = limits_.bytes;
    request.cut_body = true;
    request.redirects_max = limits_.redirects;
    request.guard = &guard_;
    const Deadline own = Deadline::after(limits_.timeout);
    const Deadline deadline = Deadline::at(std::min(own.when(), context.deadline.when()));
    try {
      return text_of(request.url, http_.send(request, context.task.stop(), deadline));
    } catch (const Error& error) {
      return std::unexpected(error.message());
    }
  }

 private:
  std::expected<std::string, std::string> text_of(const std::string& url,
                                                  const HttpResponse& response) const {
    if (response.status < 200 || response.status > 299)
      return std::unexpected(
          fmt::format("GET {}: answered {}\n{}", printable_url(url), response.status,
                      to_valid_utf8(std::string_view(response.body).substr(0, kErrorBytes))));
    const std::string_view text =
        response.cut ? without_half_character(response.body) : std::string_view(response.body);
    if (!is_valid_utf8(text))
      return std::unexpected(
          fmt::format("GET {}: the answer is not text in UTF-8 but {}", printable_url(url),
                      to_valid_utf8(response.header("content-type").value_or("of no known type"))));
    if (!response.cut) return std::string(text);
    return fmt::format("{}\n... (cut off after {} bytes)", text, text.size());
  }

  HttpClient& http_;
  const AddressGuard& guard_;
  const HttpGetLimits limits_;
  const ToolSpec spec_{
      .name = "http_get",
      .description = "Fetches a web page or API by HTTP GET and returns the text of the answer.",
      .parameters = {{"type", "object"},
                     {"properties",
                      {{"url",
                        {{"type", "string"}, {"description", "http:// or https://, public"}}}}},
                     {"required", Json::array({"url"})},
                     {"additionalProperties", false}},
      .aliases = {},
      .opt_in = true};
};

}  // namespace

std::shared_ptr<const Tool> make_http_get(HttpClient& http, const AddressGuard& guard,
                                          HttpGetLimits limits) {
  return std::make_shared<HttpGet>(http, guard, limits);
}

}  // namespace opscore
