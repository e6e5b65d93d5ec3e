#include "opscore/base/random.h"
#include "opscore/llm/conformance/fake_chat_server.h"
#include "opscore/llm/conformance/llm_conformance.h"
#include "opscore/llm/openai/openai_client.h"
#include "opscore/llm/scripted/scripted_client.h"

namespace opscore {
namespace {

class Scripted final : public LlmSubject {
 public:
  explicit Scripted(const Json& script) : client_(make_scripted_client(script)) {}
  LlmClient& client() override { return *client_; }

 private:
  std::unique_ptr<LlmClient> client_;
};

class OpenAi final : public LlmSubject {
 public:
  OpenAi(const Json& script, FakeChatServer::Style style)
      : server_(script, style),
        client_(make_openai_client(http_,
                                   {.base_url = server_.base_url(),
                                    .api_key = "sk-conformance",
                                    .stream = style != FakeChatServer::Style::document,
                                    .retries = 0},
                                   clock_, random_)) {}
  LlmClient& client() override { return *client_; }

 private:
  SystemClock clock_;
  SeededRandom random_{1};
  HttpClient http_;
  FakeChatServer server_;
  std::unique_ptr<LlmClient> client_;
};

LlmImplementation openai(const char* name, FakeChatServer::Style style) {
  return {name, [style](const Json& script) { return std::make_unique<OpenAi>(script, style); }};
}

}  // namespace

std::vector<LlmImplementation> llm_implementations() {
  return {{"scripted", [](const Json& script) { return std::make_unique<Scripted>(script); }},
          openai("openai_stream", FakeChatServer::Style::stream),
          openai("openai_byte_by_byte", FakeChatServer::Style::stream_byte_by_byte),
          openai("openai_document", FakeChatServer::Style::document)};
}

}  // namespace opscore
