#include "opscore/llm/openai/openai_client.h"

#include <fmt/format.h>

#include <cmath>

#include "opscore/base/mutex.h"
#include "opscore/llm/openai/chat_codec.h"
#include "opscore/llm/openai/provider_error.h"
#include "opscore/net/sse_reader.h"

namespace opscore {
namespace {

constexpr Duration kBackoffMax = std::chrono::seconds(8);
constexpr size_t kAnswerBytesMax = 16 << 20;
constexpr size_t kPieceShown = 200;

std::string without_trailing_slash(std::string url) {
  while (url.ends_with('/')) url.pop_back();
  return url;
}

Json parse_untrusted(const std::string& text, const char* what, bool retryable) {
  Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded())
    throw LlmError(
        Errc::malformed,
        fmt::format("{} is not JSON: {}", what, to_valid_utf8(text.substr(0, kPieceShown))),
        retryable);
  return json;
}

// Reads the body of a 2xx answer: an event stream, or a plain JSON document from a server that does
// not stream. Which one shows in its first byte: no event stream begins with a brace.
class AnswerReader {
 public:
  explicit AnswerReader(const std::string& provider) : provider_(provider) {}

  // False once the answer is complete.
  bool feed(std::string_view bytes) {
    if (kind_ == Kind::unknown) {
      const size_t first = bytes.find_first_not_of(" \t\r\n");
      if (first == std::string_view::npos) return true;
      kind_ = bytes[first] == '{' || bytes[first] == '[' || bytes[first] == '<' ? Kind::document
                                                                                : Kind::stream;
    }
    if (kind_ == Kind::document) {
      document_ += bytes;
      return true;
    }
    take(sse_.feed(bytes));
    return !done_;
  }

  LlmResponse finish(const HttpResponse& response) {
    if (kind_ != Kind::stream) return finish_document(response);
    if (!done_) take(sse_.finish());
    if (!done_ && !stream_.finished())
      throw LlmError(Errc::unavailable,
                     stream_.empty() ? "the stream ended before the answer began"
                                     : "the stream ended in the middle of the answer",
                     true);
    if (stream_.empty())
      throw LlmError(Errc::malformed, "the stream ended without an answer", true);
    return stream_.take();
  }

 private:
  enum class Kind { unknown, document, stream };

  void take(const std::expected<std::vector<SseEvent>, Error>& events) {
    if (!events) throw events.error();
    for (const SseEvent& event : *events) {
      if (done_) return;
      if (event.data == "[DONE]") {
        done_ = true;
      } else if (!event.data.empty()) {
        const Json chunk = parse_untrusted(event.data, "a piece of the stream", true);
        refuse_error(chunk, {});
        stream_.add(chunk);
      }
    }
  }

  LlmResponse finish_document(const HttpResponse& response) {
    if (document_.empty() && response.body.empty())
      throw LlmError(Errc::unavailable, "the answer is empty", true);
    const Json answer =
        parse_untrusted(document_.empty() ? response.body : document_, "the answer", false);
    refuse_error(answer, request_id_of(response));
    return decode_chat_answer(answer);
  }

  // Status 200 does not mean that it worked.
  void refuse_error(const Json& json, const std::string& request_id) {
    if (const Json error = error_member(json); !error.is_null())
      throw error_from_member(provider_, error, request_id);
    if (!json.is_object()) return;
    const auto choices = json.find("choices");
    if (choices == json.end() || !choices->is_array() || choices->empty()) return;
    const Json& choice = choices->front();
    if (!choice.is_object()) return;
    const bool failed = choice.contains("finish_reason") && choice["finish_reason"] == "error";
    const Json error = error_member(choice);
    if (failed || !error.is_null())
      throw error_from_member(provider_,
                              error.is_null() ? Json("the generation ended with an error") : error,
                              request_id);
  }

  const std::string& provider_;
  Kind kind_ = Kind::unknown;
  std::string document_;
  SseReader sse_;
  ChatStream stream_;
  bool done_ = false;
};

class OpenAiClient final : public LlmClient {
 public:
  OpenAiClient(HttpClient& http, OpenAiOptions options, const Clock& clock, Random& random)
      : http_(http), options_(std::move(options)), clock_(clock), random_(random) {
    options_.base_url = without_trailing_slash(options_.base_url);
    if (!options_.base_url.starts_with("http://") && !options_.base_url.starts_with("https://"))
      throw Error(Errc::invalid, fmt::format("provider '{}': base_url '{}' is not an http URL",
                                             options_.provider, options_.base_url));
    if (options_.max_tokens_field.empty())
      options_.max_tokens_field = options_.base_url.starts_with("https://api.openai.com/")
                                      ? "max_completion_tokens"
                                      : "max_tokens";
  }

  std::string provider() const override { return options_.provider; }

  LlmResponse complete(const LlmRequest& request, std::stop_token stop,
                       Deadline deadline) override {
    const HttpRequest call = http_request(request);
    for (int tried = 0;; ++tried) {
      try {
        return try_once(call, stop, deadline);
      } catch (const LlmError& error) {
        if (!error.retryable() || tried >= options_.retries) throw;
        const Duration pause = error.retry_after().value_or(backoff(tried));
        if (pause > options_.retry_wait_max || pause >= deadline.left()) throw;
        wait(pause, stop);
      }
    }
  }

 private:
  HttpRequest http_request(const LlmRequest& request) const {
    HttpRequest call{.method = "POST", .url = options_.base_url + "/chat/completions"};
    call.headers = {
        {"Content-Type", "application/json"},
        {"Accept", options_.stream ? "text/event-stream, application/json" : "application/json"}};
    if (!options_.api_key.empty())
      call.headers.emplace_back("Authorization", "Bearer " + options_.api_key);
    if (!options_.organization.empty())
      call.headers.emplace_back("OpenAI-Organization", options_.organization);
    if (!options_.project.empty()) call.headers.emplace_back("OpenAI-Project", options_.project);
    call.headers.insert(call.headers.end(), options_.headers.begin(), options_.headers.end());
    call.body = encode_chat_request(request, {.stream = options_.stream,
                                              .max_tokens_field = options_.max_tokens_field})
                    .dump(-1, ' ', false, Json::error_handler_t::replace);
    call.idle_timeout = options_.idle_timeout;
    call.body_bytes_max = kAnswerBytesMax;
    return call;
  }

  // Every failure leaves as an LlmError that names the provider.
  LlmResponse try_once(HttpRequest call, const std::stop_token& stop, Deadline deadline) {
    AnswerReader reader(options_.provider);
    call.on_body = [&](std::string_view bytes) { return reader.feed(bytes); };
    try {
      const HttpResponse http = http_.send(call, stop, deadline);
      if (http.status < 200 || http.status > 299)
        throw error_from_response(options_.provider, http, clock_.now());
      LlmResponse response = reader.finish(http);
      response.request_id = request_id_of(http);
      return response;
    } catch (const LlmError& error) {
      throw LlmError(error.code(), named(error.message()), error.retryable(), error.retry_after());
    } catch (const Error& error) {
      const bool out_of_time = error.code() == Errc::timeout && deadline.passed();
      throw LlmError(error.code(), named(error.message()), error.retryable() && !out_of_time);
    }
  }

  // The provider's name in front; never the key, should a server repeat it.
  std::string named(std::string message) const {
    if (!message.starts_with(options_.provider + ":")) message = options_.provider + ": " + message;
    if (options_.api_key.size() < 8) return message;
    for (size_t at; (at = message.find(options_.api_key)) != std::string::npos;)
      message.replace(at, options_.api_key.size(), "***");
    return message;
  }

  // min(base * 2^n, 8 s), up to a quarter less: the rule of the official clients.
  Duration backoff(int tried) const {
    const double whole =
        std::min(static_cast<double>(kBackoffMax.count()),
                 std::ldexp(static_cast<double>(options_.retry_base.count()), std::min(tried, 20)));
    return Duration(static_cast<int64_t>(whole * (1 - random_.unit() * 0.25)));
  }

  void wait(Duration pause, const std::stop_token& stop) const {
    Mutex mutex;
    StoppableCondition never;
    MutexLock lock(mutex);
    never.wait_for(lock, stop, pause, [] { return false; });
    if (stop.stop_requested())
      throw LlmError(Errc::cancelled, options_.provider + ": cancelled", false);
  }

  HttpClient& http_;
  OpenAiOptions options_;  // constant after construction
  const Clock& clock_;
  Random& random_;
};

}  // namespace

std::unique_ptr<LlmClient> make_openai_client(HttpClient& http, OpenAiOptions options,
                                              const Clock& clock, Random& random) {
  return std::make_unique<OpenAiClient>(http, std::move(options), clock, random);
}

}  // namespace opscore
