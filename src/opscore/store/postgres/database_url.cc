#include "opscore/store/postgres/database_url.h"

#include <fmt/format.h>
#include <postgresql/libpq-fe.h>

#include <memory>
#include <set>

#include "opscore/base/error.h"

namespace opscore::postgres {
namespace {

std::set<std::string> libpq_options() {
  std::set<std::string> names;
  std::unique_ptr<PQconninfoOption, void (*)(PQconninfoOption*)> defaults(PQconndefaults(),
                                                                          PQconninfoFree);
  for (auto* option = defaults.get(); option != nullptr && option->keyword != nullptr; ++option)
    names.insert(option->keyword);
  return names;
}

std::vector<std::string_view> split(std::string_view text, char mark) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    size_t end = std::min(text.find(mark), text.size());
    if (end > 0) parts.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

[[noreturn]] void refuse(std::string_view text, const std::string& why) {
  throw Error(Errc::invalid, fmt::format("database URL '{}': {}; it looks like "
                                         "postgresql://user:password@host:5432/database",
                                         without_password(text), why));
}

// Options of the drivers say the same in other words, or are about the driver.
std::string translate(std::string_view option, const std::set<std::string>& known, bool driver,
                      std::string_view text, DatabaseUrl& parsed) {
  std::string name(option.substr(0, option.find('=')));
  std::string value(option.substr(std::min(option.find('='), option.size() - 1) + 1));
  if (name == "pgbouncer") {
    if (value != "true" && value != "false") refuse(text, "pgbouncer is true or false");
    parsed.pooled = value == "true";
    return {};
  }
  if (driver && name == "ssl") {
    std::string mode = value == "true" ? "require" : value == "false" ? "disable" : value;
    parsed.notes.push_back(fmt::format("ssl={} became sslmode={}", value, mode));
    return "sslmode=" + mode;
  }
  if (known.contains(name) || name == "ssl") return std::string(option);
  if (!driver) refuse(text, fmt::format("there is no option '{}'", name));
  parsed.notes.push_back(fmt::format("{} is an option of the driver and was taken off", name));
  return {};
}

}  // namespace

DatabaseUrl parse_database_url(std::string_view text) {
  size_t colon = text.find("://");
  if (colon == text.npos) refuse(text, "it has no '://'");
  std::string_view scheme = text.substr(0, colon);
  std::string_view driver = scheme.substr(std::min(scheme.find('+'), scheme.size()));
  scheme.remove_suffix(driver.size());
  if (scheme != "postgresql" && scheme != "postgres")
    refuse(text, fmt::format("'{}' is not PostgreSQL", scheme));
  DatabaseUrl parsed;
  if (!driver.empty())
    parsed.notes.push_back(fmt::format("the driver '{}' was taken off", driver.substr(1)));
  std::string_view rest = text.substr(colon);
  size_t mark = std::min(rest.find('?'), rest.size());
  parsed.url = "postgresql" + std::string(rest.substr(0, mark));
  auto known = libpq_options();
  char before = '?';
  for (std::string_view option : split(rest.substr(std::min(mark + 1, rest.size())), '&')) {
    std::string kept = translate(option, known, !driver.empty(), text, parsed);
    if (kept.empty()) continue;
    parsed.url += before + kept;
    before = '&';
  }
  char* problem = nullptr;
  std::unique_ptr<PQconninfoOption, void (*)(PQconninfoOption*)> options(
      PQconninfoParse(parsed.url.c_str(), &problem), PQconninfoFree);
  std::string words = problem == nullptr ? "" : problem;
  PQfreemem(problem);
  while (!words.empty() && words.back() == '\n') words.pop_back();
  if (!options) refuse(text, words);
  return parsed;
}

std::string without_password(std::string_view url) {
  size_t from = url.find("://");
  size_t at = url.substr(0, url.find('?')).rfind('@');
  std::string shown(url);
  if (from != url.npos && at != url.npos) {
    size_t colon = url.find(':', from + 3);
    if (colon < at) shown = fmt::format("{}:***{}", url.substr(0, colon), url.substr(at));
  }
  for (size_t option = shown.find("password="); option != shown.npos;
       option = shown.find("password=", option + 12)) {
    size_t end = std::min(shown.find('&', option), shown.size());
    shown.replace(option + 9, end - option - 9, "***");
  }
  return shown;
}

}  // namespace opscore::postgres
