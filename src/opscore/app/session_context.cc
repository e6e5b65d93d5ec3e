#include "opscore/app/session_context.h"

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>

#include "opscore/app/command_line.h"
#include "opscore/app/masking.h"
#include "opscore/app/name_lookup.h"
#include "opscore/app/version.h"
#include "opscore/process/surroundings.h"

namespace opscore {
namespace {

constexpr Duration kLookUp{300};

std::string path_or_empty(const char* link) {
  std::error_code ignored;
  return std::filesystem::read_symlink(link, ignored).string();
}

std::string absolute(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::absolute(path, ignored).string();
}

// JSON holds no other bytes than UTF-8; paths and arguments may.
Json list_of(const std::vector<std::string>& texts) {
  Json list = Json::array();
  for (const std::string& text : texts) list.push_back(to_valid_utf8(text));
  return list;
}

Json object_of(const std::map<std::string, std::string>& texts) {
  Json object = Json::object();
  for (const auto& [name, text] : texts) object[to_valid_utf8(name)] = to_valid_utf8(text);
  return object;
}

Json short_context() {
  return {{"executable", to_valid_utf8(path_or_empty("/proc/self/exe"))},
          {"argv", list_of(masked_arguments(arguments_of(::getpid())))},
          {"pid", ::getpid()},
          {"ppid", ::getppid()},
          {"host", host_name()},
          {"uid", ::getuid()},
          {"cwd", to_valid_utf8(path_or_empty("/proc/self/cwd"))},
          {"version", version()},
          {"build", build_words()}};
}

Json parents() {
  Json list = Json::array();
  for (const Ancestor& each : ancestors())
    list.push_back({{"pid", each.pid}, {"argv", list_of(masked_command(each.arguments))}});
  return list;
}

Json services(const Config& config) {
  const std::map<std::string, std::string> urls = {{"broker", config.broker.url},
                                                   {"results", config.results.url},
                                                   {"store_direct", config.store.direct_url}};
  Json object = Json::object();
  object["store"] = config.store.url.empty() ? absolute(config.store.path) : config.store_words();
  for (const auto& [name, url] : urls)
    if (!url.empty()) object[name] = mask_text(url);
  return object;
}

Json addresses(const Config& config) {
  return object_of(
      look_up(hosts_of({config.store.url, config.broker.url, config.results.url}), kLookUp));
}

Json queues(const Config& config) {
  Json object = Json::object();
  for (const QueueWeight& queue : config.worker.queues) object[queue.queue] = queue.weight;
  return object;
}

Json actors_with_versions(const Registry& registry) {
  Json object = Json::object();
  for (const RegisteredActor* actor : registry.all())
    object[actor->entry.type] =
        actor->entry.version.empty()
            ? actor->entry.kind
            : fmt::format("{}, version {}", actor->entry.kind, actor->entry.version);
  return object;
}

Json files_read(const Config& config) {
  Json list = Json::array();
  for (const Config::File& file : config.files)
    if (file.read) list.push_back(to_valid_utf8(absolute(file.path)));
  return list;
}

// What only .env sets.
Json dotenv_names(const Config& config, const std::map<std::string, std::string>& environment) {
  Json list = Json::array();
  for (const auto& [name, value] : config.environment)
    if (auto found = environment.find(name); found == environment.end() || found->second.empty())
      list.push_back(to_valid_utf8(name));
  return list;
}

const char* words_of(Role role) {
  return role == Role::up ? "up" : role == Role::worker ? "worker" : "maintenance";
}

}  // namespace

std::string session_name() {
  return fmt::format("{}:{}", host_name(), ::getpid());
}

std::string session_context() {
  return short_context().dump();
}

Json full_context(const ContextSources& sources) {
  const Config& config = sources.config;
  const Launch& launch = sources.launch;
  Json context = short_context();
  context["build_id"] = build_id();
  context["role"] = words_of(sources.role);
  context["user"] = user_name();
  context["container"] = container_kind();
  context["parents"] = parents();
  context["stdin"] = to_valid_utf8(launch.files[0]);
  context["stdout"] = to_valid_utf8(launch.files[1]);
  context["stderr"] = to_valid_utf8(launch.files[2]);
  context["has_terminal"] = launch.has_terminal;
  context["signals"] = {{"blocked", launch.blocked}, {"ignored", launch.ignored}};
  context["limits"] = object_of(resource_limits());
  context["cgroup"] = {{"path", to_valid_utf8(cgroup_path())}, {"limits", cgroup_limits()}};
  context["umask"] = process_umask();
  context["locale"] = locale_name();
  context["time_zone"] = to_valid_utf8(time_zone());
  const auto environment = process_environment();
  context["environment"] = object_of(masked_environment(environment));
  context["dotenv"] = dotenv_names(config, environment);
  context["config_files"] = files_read(config);
  context["services"] = services(config);
  context["addresses"] = addresses(config);
  context["store_identity"] = sources.store_identity;
  context["slots"] = config.worker.slots;
  context["queues"] = queues(config);
  context["actors"] = actors_with_versions(sources.actors);
  if (!sources.python.empty()) context["python"] = parse_json(sources.python);
  return context;
}

}  // namespace opscore
