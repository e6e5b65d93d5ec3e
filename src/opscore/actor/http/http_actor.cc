#include "opscore/actor/http/http_actor.h"

#include "opscore/actor/http/http_outcome.h"
#include "opscore/net/signature.h"

namespace opscore {
namespace {

class HttpActor final : public Actor {
 public:
  HttpActor(HttpClient& http, HttpActorOptions options)
      : http_(http), options_(std::move(options)) {
    if (auto url = parse_http_url(options_.url); !url)
      throw Error(Errc::invalid, "url: " + url.error());
  }

  Outcome run(TaskContext& task) override {
    HttpRequest request;
    request.method = "POST";
    request.url = options_.url;
    request.body = task.input();
    request.body_bytes_max = options_.result_bytes_max;
    request.cut_body = true;
    request.headers = task_headers(task.id(), task.type(), task.attempt());
    const auto signature = signature_headers(options_.secret, request.body, task.clock().now());
    for (const HttpHeaders* more : {&signature, &options_.headers})
      request.headers.insert(request.headers.end(), more->begin(), more->end());
    try {
      return decide_http(options_, http_.send(request, task.stop(), task.deadline()),
                         task.clock().now());
    } catch (const Error& error) {
      return decide_http_failure(error, task.deadline().passed());
    }
  }

 private:
  HttpClient& http_;
  const HttpActorOptions options_;
};

}  // namespace

std::unique_ptr<Actor> make_http_actor(HttpClient& http, HttpActorOptions options) {
  return std::make_unique<HttpActor>(http, std::move(options));
}

}  // namespace opscore
