// The API without a server: the same routes, on the store itself.

#include <fmt/format.h>

#include <filesystem>
#include <variant>

#include "opscore/api/problem.h"
#include "opscore/api/routes.h"
#include "opscore/app/broker_look.h"
#include "opscore/app/cli/api_client.h"
#include "opscore/app/version.h"
#include "opscore/app/wiring.h"
#include "opscore/doctor/explain.h"
#include "opscore/store/hidden_canaries.h"
#include "opscore/store/sqlite/sqlite_store.h"

namespace opscore {
namespace {

constexpr std::string_view kExplain = "/explain";

class OfflineApiClient final : public ApiClient {
 public:
  explicit OfflineApiClient(const Config& config)
      : log_(silent_log()),
        is_shared_(!config.store.url.empty()),
        store_(hide_canaries(is_shared_
                                 ? open_shared(config)
                                 : open_sqlite_store(clock_, random_, *log_, options_for(config)))),
        service_(*store_, clock_, *log_, metrics_, {}),
        look_at_queues_(make_broker_look(config, http_)),
        routes_(service_, metrics_, *log_, {version(), "{}"}) {}

  ApiAnswer call(const std::string& method, const std::string& path,
                 const std::string& body) override {
    if (path.ends_with(kExplain)) return explain_offline(path);
    ApiRequest request;
    request.method = method;
    size_t question = std::min(path.find('?'), path.size());
    request.path = "/api/v1" + path.substr(0, question);
    request.body = body;
    request.route = find_route(method, request.path);
    OPSCORE_ASSERT(request.route, "the command asks for a route that does not exist");
    Reply reply = routes_.handle(request);
    auto& response = std::get<Response>(reply);
    return {response.status, std::move(response.body)};
  }

  ApiAnswer download(const std::string& path,
                     const std::function<void(std::string_view)>&) override {
    throw Error(Errc::unavailable, "read " + path + ": only a server has it");
  }

 private:
  static SqliteOptions options_for(const Config& config) {
    SqliteOptions options;
    options.path = config.store.path;
    options.read_only = true;
    options.readers = 1;
    return options;
  }

  std::unique_ptr<Store> open_shared(const Config& config) {
    PostgresOptions options = postgres_options(config);
    options.migrate = false;
    options.clock = &clock_;
    return open_postgres_store(clock_, random_, *log_, options);
  }

  // Not by its route: on a data file the missing server is the first thing to say. On PostgreSQL
  // workers go on without an API.
  ApiAnswer explain_offline(const std::string& path) {
    const size_t begin = path.find('/', 1) + 1;
    const std::string kind = path.substr(0, begin);
    const std::string name = path.substr(begin, path.size() - kExplain.size() - begin);
    const ExplainOptions options{!is_shared_, look_at_queues_};
    try {
      return {200, to_json(kind == "/queues/"    ? explain_queue(*store_, clock_, name, options)
                           : kind == "/workers/" ? explain_worker(*store_, clock_, name, options)
                                                 : explain(*store_, clock_, name, options))
                       .dump()};
    } catch (const Error& error) {
      Response response = problem(error);
      return {response.status, std::move(response.body)};
    }
  }

  ServerClock clock_;
  SystemRandom random_;
  Metrics metrics_;
  std::unique_ptr<Log> log_;
  const bool is_shared_;
  std::unique_ptr<Store> store_;
  Service service_;
  HttpClient http_;
  const LookAtQueues look_at_queues_;
  Routes routes_;
};

}  // namespace

std::unique_ptr<ApiClient> make_offline_api_client(const Config& config) {
  std::error_code error;
  if (config.store.url.empty() && !std::filesystem::exists(config.store.path, error))
    throw Error(Errc::not_found, fmt::format("there is no data file {}", config.store.path));
  return std::make_unique<OfflineApiClient>(config);
}

}  // namespace opscore
