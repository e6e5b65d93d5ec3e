// JSON from outside: our grammar accepts exactly what a strict parser accepts, and JsonReader reads
// the same values from it.

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "opscore/base/json.h"
#include "opscore/base/json_reader.h"

namespace {

using opscore::Json;
using opscore::JsonReader;

// Reads the whole text as a caller would. Throws Error.
Json read(JsonReader& in) {
  switch (in.peek()) {
    case JsonReader::Type::object: {
      Json object = Json::object();
      in.object([&](std::string_view name) { object[std::string(name)] = read(in); });
      return object;
    }
    case JsonReader::Type::array: {
      Json array = Json::array();
      in.array([&](size_t) { array.push_back(read(in)); });
      return array;
    }
    case JsonReader::Type::string:
      return in.string();
    case JsonReader::Type::number:
      return in.number();
    case JsonReader::Type::boolean:
      return in.boolean();
    case JsonReader::Type::null:
      in.null_or_skip_null();
      return nullptr;
  }
  std::abort();
}

// Where we differ on purpose: NUL bytes, which end the text for the library, and a byte order mark.
bool differs_on_purpose(std::string_view text) {
  return text.find('\0') != std::string_view::npos || text.starts_with('\xef');
}

bool is_repetition_or_depth(const opscore::Error& error) {
  std::string_view words = error.what();
  return words.ends_with("is repeated") || words.ends_with("too many levels of nesting");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto checked = opscore::check_json(text);
  if (!differs_on_purpose(text) && checked.has_value() != Json::accept(text))
    if (checked || !is_repetition_or_depth(checked.error())) std::abort();
  try {
    JsonReader in(text);
    const Json value = read(in);
    in.end();
    if (!checked || value != Json::parse(text)) std::abort();
  } catch (const opscore::Error& error) {
    if (error.code() != opscore::Errc::malformed) std::abort();
    if (checked && !is_repetition_or_depth(error)) std::abort();
  }
  const std::string quoted = opscore::quote_json(text);
  if (Json::parse(quoted).get<std::string>() != opscore::to_valid_utf8(text)) std::abort();
  return 0;
}
