#include "opscore/app/masking.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>

namespace opscore {
namespace {

constexpr std::array kSecretWords = {"password",   "passwd",     "passphrase", "pwd",
                                     "secret",     "token",      "apikey",     "credential",
                                     "auth",       "cookie",     "dsn",        "bearer",
                                     "privatekey", "encryption", "signature",  "pgpass"};
// Whole words only: monkey is no secret.
constexpr std::array kSecretEnds = {"key", "keys", "pass", "pat", "salt"};

// What explains why one process works and another does not.
constexpr std::array kHarmless = {"PATH",
                                  "HOME",
                                  "SHELL",
                                  "USER",
                                  "LOGNAME",
                                  "LANG",
                                  "LANGUAGE",
                                  "TZ",
                                  "TERM",
                                  "TMPDIR",
                                  "CI",
                                  "HOSTNAME",
                                  "PWD",
                                  "OLDPWD",
                                  "_",
                                  "COLUMNS",
                                  "LINES",
                                  "NO_COLOR",
                                  "SHLVL",
                                  "container",
                                  "KUBERNETES_SERVICE_HOST",
                                  "DRAMATIQ_TESTING",
                                  "UNIT_TESTING",
                                  "VIRTUAL_ENV",
                                  "CONDA_PREFIX",
                                  "TOX_ENV_NAME",
                                  "PYTEST_VERSION",
                                  "PYTHONPATH",
                                  "PYTHONHOME",
                                  "PYTHONUNBUFFERED",
                                  "PYTHONDONTWRITEBYTECODE",
                                  "PYTHONOPTIMIZE",
                                  "PYTHONHASHSEED",
                                  "PYTHONUTF8",
                                  "PYTHONIOENCODING",
                                  "PYTHONASYNCIODEBUG",
                                  "PYTHONFAULTHANDLER",
                                  "PYTHONSAFEPATH",
                                  "PYTHONNOUSERSITE",
                                  "PYTHONWARNINGS",
                                  "LD_LIBRARY_PATH",
                                  "LD_PRELOAD",
                                  "MALLOC_ARENA_MAX",
                                  "OMP_NUM_THREADS",
                                  "INVOCATION_ID",
                                  "OPSCORE_LOG_LEVEL",
                                  "OPSCORE_DATA",
                                  "OPSCORE_PORT"};
// Their values are URLs, or lists of hosts.
constexpr std::array kProxies = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
                                 "http_proxy", "https_proxy", "all_proxy", "no_proxy"};

bool is_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' || c == '.';
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

template <class List>
bool has(const List& list, std::string_view name) {
  return std::ranges::find(list, name) != list.end();
}

// Everything between :// and the last @ of the word: a password may hold any of / ? #.
std::string mask_urls(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const size_t scheme = text.find("://");
    if (scheme == text.npos) break;
    const size_t start = scheme + 3;
    const size_t end = std::min(text.find_first_of(" \t\r\n\"'<>", start), text.size());
    const size_t at = text.substr(start, end - start).rfind('@');
    out += text.substr(0, start);
    if (at != text.npos) out += kMasked;
    out += text.substr(at == text.npos ? start : start + at,
                       end - (at == text.npos ? start : start + at));
    text.remove_prefix(end);
  }
  return out + std::string(text);
}

// Where the value ends that starts at `at`: at the quote it began with, or where the word does.
size_t end_of_value(std::string_view text, size_t at) {
  if (at < text.size() && (text[at] == '"' || text[at] == '\'')) {
    const size_t quote = text.find(text[at], at + 1);
    return quote == text.npos ? text.size() : quote + 1;
  }
  return std::min(text.find_first_of(" \t\r\n,;&}\"'", at), text.size());
}

// NAME=value, NAME: value, "NAME": "value"; of Authorization all that is left of the line.
std::string mask_named(std::string_view text) {
  std::string out;
  size_t done = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '=' && text[i] != ':') continue;
    size_t name_end = i;
    while (name_end > done &&
           (text[name_end - 1] == '"' || text[name_end - 1] == '\'' || text[name_end - 1] == ' '))
      --name_end;
    size_t name = name_end;
    while (name > done && is_word(text[name - 1])) --name;
    const std::string_view said = text.substr(name, name_end - name);
    if (!is_secret_name(said)) continue;
    size_t value = i + 1;
    while (value < text.size() && text[value] == ' ') ++value;
    const bool is_header =
        lower(said).ends_with("authorization") || lower(said).ends_with("cookie");
    size_t end = end_of_value(text, value);
    if (is_header && value < text.size() && text[value] != '"')
      end = std::min(text.find_first_of("\r\n\"", value), text.size());
    if (end == value) continue;
    const bool is_quoted = text[value] == '"' || text[value] == '\'';
    out += text.substr(done, value - done + (is_quoted ? 1 : 0));
    out += kMasked;
    if (is_quoted && end > value + 1) out += text[value];
    done = end;
    i = end - 1;
  }
  return out + std::string(text.substr(done));
}

std::string mask_argument(std::string_view argument) {
  return mask_named(mask_urls(argument));
}

bool is_variable(std::string_view argument) {
  const size_t equals = argument.find('=');
  return equals != argument.npos && equals > 0 && !argument.starts_with('-') &&
         std::ranges::all_of(argument.substr(0, equals), is_word);
}

}  // namespace

bool is_secret_name(std::string_view name) {
  std::string plain;  // without what separates words
  for (char c : lower(name))
    if (std::isalnum(static_cast<unsigned char>(c))) plain += c;
  for (std::string_view word : kSecretWords)
    if (plain.find(word) != plain.npos) return true;
  const std::string words = lower(name);
  const size_t last = words.find_last_of("_-.");
  return has(kSecretEnds, std::string_view(words).substr(last == words.npos ? 0 : last + 1));
}

std::string mask_text(std::string_view text) {
  return mask_named(mask_urls(text));
}

std::string mask_text(std::string_view text, const std::set<std::string>& secrets) {
  constexpr size_t kAnywhere = 6;
  std::string out = mask_text(text);
  for (const std::string& secret : secrets) {
    if (secret.empty()) continue;
    for (size_t at = out.find(secret); at != out.npos; at = out.find(secret, at)) {
      const size_t end = at + secret.size();
      const bool is_whole =
          (at == 0 || !is_word(out[at - 1])) && (end == out.size() || !is_word(out[end]));
      if (secret.size() < kAnywhere && !is_whole) {
        at = end;
        continue;
      }
      out.replace(at, secret.size(), kMasked);
      at += sizeof kMasked - 1;
    }
  }
  return out;
}

std::vector<std::string> masked_arguments(const std::vector<std::string>& arguments) {
  std::vector<std::string> out;
  bool is_value = false;  // of an option that takes a secret
  for (const std::string& argument : arguments) {
    out.push_back(is_value ? kMasked : mask_argument(argument));
    is_value = argument.starts_with("--") && argument.find('=') == argument.npos &&
               is_secret_name(argument.substr(2));
  }
  return out;
}

std::vector<std::string> masked_command(const std::vector<std::string>& arguments) {
  std::vector<std::string> out;
  bool is_module = false;
  for (const std::string& argument : arguments) {
    std::error_code ignored;
    const bool is_option = argument.starts_with('-');
    if (out.empty() || is_module || std::filesystem::exists(argument, ignored))
      out.push_back(argument);
    else if (is_option && argument.starts_with("--"))
      out.push_back(argument.substr(0, argument.find('=')) +
                    (argument.find('=') == argument.npos ? "" : "=***"));
    else if (is_option)
      out.push_back(argument.substr(0, 2));  // -pSECRET
    else if (is_variable(argument))
      out.push_back(argument.substr(0, argument.find('=')) + "=***");
    else
      out.emplace_back(kMasked);
    is_module = argument == "-m";
  }
  return out;
}

std::map<std::string, std::string> masked_environment(
    const std::map<std::string, std::string>& environment) {
  std::map<std::string, std::string> out;
  for (const auto& [name, value] : environment) {
    const bool is_shown = has(kHarmless, name) || name.starts_with("LC_") || has(kProxies, name);
    out[name] = value.empty() ? "" : is_shown ? mask_urls(value) : kMasked;
  }
  return out;
}

}  // namespace opscore
