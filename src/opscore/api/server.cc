#include "opscore/api/server.h"

#include <fmt/format.h>

#include <array>

#include "opscore/api/http/http_server.h"
#include "opscore/api/openapi.h"
#include "opscore/api/parking_lot.h"
#include "opscore/api/problem.h"
#include "opscore/api/refusals.h"
#include "opscore/api/request_pool.h"
#include "opscore/api/routes.h"
#include "opscore/api/site_guard.h"
#include "opscore/base/hash.h"
#include "opscore/base/json.h"

namespace opscore {
namespace {

using std::chrono::steady_clock;

constexpr uint64_t kSmallBody = 8 << 20;  // room for the largest input and all that goes with it

// Seconds that requests took, by route and class of status; looked up once each.
class RouteTimes {
 public:
  explicit RouteTimes(Metrics& metrics) : metrics_(metrics) {}

  void observe(const Route& route, int status, SteadyPoint began) {
    auto index = static_cast<size_t>(&route - all_routes().data());
    auto& place = times_[index][std::min<size_t>(static_cast<size_t>(status) / 100, 5)];
    Histogram* histogram = place.load(std::memory_order_acquire);
    if (!histogram) {
      histogram = &metrics_.duration("opscore_http_request_duration_seconds",
                                     "Time from a request to its answer, waiting excluded.",
                                     {{"method", std::string(route.method)},
                                      {"route", std::string(route.pattern)},
                                      {"status", fmt::format("{}xx", status / 100)}});
      place.store(histogram, std::memory_order_release);
    }
    histogram->observe(std::chrono::duration<double>(steady_clock::now() - began).count());
  }

 private:
  Metrics& metrics_;
  std::array<std::array<std::atomic<Histogram*>, 6>, 64> times_{};
};

HttpServerOptions edge_options(const ApiOptions& options) {
  HttpServerOptions edge;
  edge.address = options.address;
  edge.port = options.port;
  edge.listen_fd = options.listen_fd;
  edge.connections_max = options.connections_max;
  edge.on_progress = options.on_progress;
  edge.header_timeout = edge.body_timeout = edge.write_timeout = options.client_timeout;
  return edge;
}

SiteGuardOptions guard_options(const ApiOptions& options) {
  return {options.allowed_hosts, !is_loopback_host(options.address)};
}

}  // namespace

class ApiServer::Impl final : public HttpHandler {
 public:
  Impl(Service& service, Metrics& metrics, Log& log, ApiOptions options)
      : options_(std::move(options)),
        log_(log),
        refusals_(metrics, log),
        guard_(guard_options(options_)),
        times_(metrics),
        input_bytes_max_(service.options().input_bytes_max),
        routes_(service, metrics, log,
                {options_.version, std::string(openapi_json()), options_.ops_core, options_.reload,
                 options_.look_at_queues}),
        pool_(log, {}, [this](std::vector<Exchange> batch) { submit(std::move(batch)); }),
        server_(*this, log, refusals_, edge_options(options_)),
        lot_(service, routes_, pool_, server_, log) {}

  ~Impl() override { stop(Deadline::after(std::chrono::seconds(1))); }

  void start() {
    lot_.start();
    server_.start();
  }

  void stop(Deadline deadline) {
    if (stopped_.exchange(true)) return;
    server_.stop_accepting();
    lot_.stop();
    if (!server_.wait_idle(deadline)) log_.warn("http: cutting requests that did not end in time");
    server_.stop();
    pool_.stop();
  }

  uint16_t port() const { return server_.port(); }

  uint64_t route(ApiRequest& request) override {
    request.route = find_route(request.method, request.path);
    if (options_.probes_only && request.route && !is_probe(*request.route)) request.route = nullptr;
    bool is_batch = request.route && request.route->kind == Route::Kind::batch;
    return is_batch ? limits::kBodyBytes : std::max<uint64_t>(kSmallBody, 2 * input_bytes_max_);
  }

  std::optional<Response> admit(const ApiRequest& request) override {
    const Route* route = request.route;
    if (!options_.token.empty() && !(route && route->is_open) && !is_authentic(request))
      return noted(Refusal::unauthenticated, problem(Error(Errc::unauthenticated,
                                                           "this server wants its API token, as "
                                                           "'Authorization: Bearer TOKEN'")));
    if (options_.token.empty())
      if (auto refused = guard_.check(request))
        return noted(refused->reason, std::move(refused->response));
    if (!route) return no_route(request);
    if (route->method == "GET") return std::nullopt;
    bool fits = is_json_type(request.content_type) ||
                (route->kind == Route::Kind::batch && is_ndjson_type(request.content_type));
    if (!fits)
      return noted(
          Refusal::body_type,
          problem(
              kUnsupportedType,
              fmt::format("'{}' is not understood here; send application/json{}",
                          to_valid_utf8(request.content_type.substr(0, 200)),
                          route->kind == Route::Kind::batch ? " or application/x-ndjson" : "")));
    return std::nullopt;
  }

  void handle(ExchangeId id, ApiRequest request) override {
    Exchange exchange{id, std::move(request)};
    if (exchange.request.route->kind == Route::Kind::submit) {
      if (!pool_.push_submit(exchange)) refuse(exchange.id);
      return;
    }
    bool taken = pool_.push([this, exchange = std::move(exchange)] {
      std::vector<Answer> answers;
      deliver(exchange, routes_.handle(exchange.request), answers);
      if (!answers.empty()) server_.reply(std::move(answers));
    });
    if (!taken) refuse(id);
  }

  void drained(ExchangeId id, uint64_t pieces) override { lot_.drained(id, pieces); }

  void gone(ExchangeId id) override { lot_.remove(id); }

 private:
  Response noted(Refusal reason, Response response) {
    refusals_.note(reason, response.body);
    return response;
  }

  bool is_authentic(const ApiRequest& request) const {
    constexpr std::string_view kScheme = "bearer ";
    std::string_view text = request.authorization;
    if (text.size() < kScheme.size()) return false;
    for (size_t i = 0; i < kScheme.size(); ++i)
      if ((text[i] | 0x20) != (kScheme[i] | 0x20)) return false;
    text.remove_prefix(kScheme.size());
    text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
    return equal_constant_time(text, options_.token);
  }

  static bool is_probe(const Route& route) {
    return route.pattern == "/health" || route.pattern == "/ready" || route.pattern == "/metrics";
  }

  Response no_route(const ApiRequest& request) const {
    if (options_.probes_only)
      return problem(Error(Errc::not_found,
                           "this process answers GET /health, /ready and /metrics only; tasks are "
                           "for `opscore api`"));
    std::string path = to_valid_utf8(request.path.substr(0, 200));
    std::string allowed = allowed_methods(request.path);
    // Neither is meant for a server like this one; asking a proxy's questions ends the connection.
    bool for_proxies = request.method == "CONNECT" || request.method == "TRACE";
    if (allowed.empty() && for_proxies) allowed = "GET, HEAD, POST, DELETE";
    if (allowed.empty())
      return problem(Error(Errc::not_found, fmt::format("no such route: {} {}; /openapi.json lists "
                                                        "all of them",
                                                        request.method, path)));
    Response response = problem(Error(
        Errc::method_not_allowed,
        fmt::format("{} is not allowed on {}; allowed are {}", request.method, path, allowed)));
    response.headers.emplace_back("Allow", allowed);
    response.close = for_proxies;
    return response;
  }

  // On the edge thread: the pool is full.
  void refuse(ExchangeId id) {
    std::vector<Answer> answers;
    answers.push_back(
        {id, noted(Refusal::overloaded,
                   problem(Error(Errc::overloaded, "too many requests wait; try again")))});
    server_.reply(std::move(answers));
  }

  // On a pool thread: single submits that waited together are answered together.
  void submit(std::vector<Exchange> batch) {
    std::vector<ApiRequest> requests;
    requests.reserve(batch.size());
    for (Exchange& exchange : batch) requests.push_back(std::move(exchange.request));
    auto replies = routes_.submit_all(requests);
    std::vector<Answer> answers;
    answers.reserve(batch.size());
    for (size_t i = 0; i < batch.size(); ++i) {
      batch[i].request = std::move(requests[i]);
      deliver(batch[i], std::move(replies[i]), answers);
    }
    if (!answers.empty()) server_.reply(std::move(answers));
  }

  // A response joins `answers`; what waits is parked.
  void deliver(const Exchange& exchange, Reply reply, std::vector<Answer>& answers) {
    const ApiRequest& request = exchange.request;
    if (auto* response = std::get_if<Response>(&reply)) {
      times_.observe(*request.route, response->status, request.received_at);
      if (response->status == 400) refusals_.note(Refusal::body_malformed, response->body);
      if (response->status == 503 && !request.route->is_open)
        refusals_.note(Refusal::unavailable, response->body);
      if (response->status == 413) refusals_.note(Refusal::body_too_large, response->body);
      log_.debug("http: {} {} {}", request.method, request.path, response->status);
      answers.push_back({exchange.id, std::move(*response)});
    } else if (auto* wait = std::get_if<Wait>(&reply)) {
      log_.debug("http: {} {} waits", request.method, request.path);
      lot_.park(exchange.id, std::move(*wait));
    } else {
      log_.debug("http: {} {} streams", request.method, request.path);
      lot_.park(exchange.id, std::get<Stream>(reply));
    }
  }

  const ApiOptions options_;
  Log& log_;
  Refusals refusals_;
  const SiteGuard guard_;
  RouteTimes times_;
  const size_t input_bytes_max_;
  Routes routes_;
  RequestPool pool_;
  HttpServer server_;
  ParkingLot lot_;
  std::atomic<bool> stopped_{false};
};

ApiServer::ApiServer(Service& service, Metrics& metrics, Log& log, ApiOptions options)
    : impl_(std::make_unique<Impl>(service, metrics, log, std::move(options))) {}
ApiServer::~ApiServer() = default;
void ApiServer::start() {
  impl_->start();
}
void ApiServer::stop(Deadline deadline) {
  impl_->stop(deadline);
}
uint16_t ApiServer::port() const {
  return impl_->port();
}

}  // namespace opscore
