#pragma once
// A compiled JSON Schema (draft 7) of an actor's input. Immutable, safe for concurrent use.
// Extensions: "x-opscore-reasons": {"value": "why not"} beside an enum, and "x-opscore-required":
// {"name": "why"} beside "required", reach the submitter in place of "not in enum" and "is
// required": "provider 'openai' has no key: set OPENAI_API_KEY".

#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace opscore {

struct SchemaProblem {
  std::string path;     // "agent_config.provider"; empty: the whole input
  std::string message;  // "must be one of ..., not ..."
};

class InputSchema {
 public:
  // Throws Error{invalid} when the text is not a schema.
  explicit InputSchema(std::string_view schema_json);
  ~InputSchema();

  std::optional<SchemaProblem> check(std::string_view input_json) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace opscore
