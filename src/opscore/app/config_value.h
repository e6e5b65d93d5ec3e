#pragma once
// A value as some source spelled it, before it is known what it should be.

#include <expected>
#include <string>
#include <vector>

#include "opscore/app/config.h"

namespace opscore {

struct ConfigMember;

struct ConfigValue {
  enum class Kind : uint8_t {
    untyped,  // from a flag or a variable: text that may stand for any scalar
    text,
    integer,
    number,
    boolean,
    date,
    array,
    table,
  } kind = Kind::untyped;
  std::string text;                   // of a scalar
  std::vector<ConfigValue> items;     // of an array
  std::vector<ConfigMember> members;  // of a table, in the file's order
  Origin origin;
};

struct ConfigMember {
  std::string name;
  ConfigValue value;
};

// TOML 1.0. Problems are lines of the form "opscore.toml:3: ...". `file` is the name for messages.
ConfigValue parse_toml(const std::string& text, const std::string& file,
                       std::vector<std::string>& problems);

// One assignment in a .env file.
struct DotenvEntry {
  std::string name;
  std::string value;
  int line = 0;
  bool has_reference = false;  // contains ${...}, which is not expanded
};

//   file    = { line "\n" }
//   line    = [ "export" ] name "=" value [ "#" comment ] | "#" comment | ""
//   value   = "'" any "'" | '"' any-with-escapes '"' | text up to " #" or the end of the line
// Quoted values may span lines; escapes are \n \r \t \" \\ \$ \'. A later assignment of a name
// wins.
std::vector<DotenvEntry> parse_dotenv(const std::string& text, const std::string& file,
                                      std::vector<std::string>& problems);

// Where the tasks are, from a URL as SQLAlchemy or libpq spells it.
struct DatabaseUrl {
  enum class Kind : uint8_t { sqlite, postgresql } kind = Kind::sqlite;
  std::string path;                // sqlite
  std::string url;                 // postgresql://..., as libpq takes it
  std::vector<std::string> notes;  // what was stripped
};
// sqlite:///relative, sqlite:////absolute, postgresql://, postgres://, each with an optional
// +driver, which is stripped with its query options. The error never contains the password.
std::expected<DatabaseUrl, Error> parse_database_url(std::string_view text);

// The URL with its password replaced by ***.
std::string mask_url(std::string_view url);

}  // namespace opscore
