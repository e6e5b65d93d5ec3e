#include "opscore/base/json.h"

#include "opscore/base/json_cursor.h"
#include "opscore/base/utf8.h"

namespace opscore {

std::expected<void, Error> check_json(std::string_view text) {
  return check_json(text, kJsonDepthMax);
}

Json parse_json(std::string_view text) {
  if (auto checked = check_json(text, kJsonDocumentDepthMax); !checked) throw checked.error();
  return Json::parse(text);
}

void append_quoted(std::string& out, std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  out += '"';
  const char* at = text.data();
  const char* end = at + text.size();
  const char* copied = at;  // what precedes is in `out`
  auto replace = [&](int bytes, std::string_view by) {
    out.append(copied, at);
    out += by;
    copied = at += bytes;
  };
  while ((at = skip_plain(at, end)) != end) {
    auto byte = static_cast<unsigned char>(*at);
    if (byte >= 0x80) {
      Utf8Step step = step_utf8(at, end);
      if (step.valid)
        at += step.size;
      else
        replace(step.size, "\xef\xbf\xbd");
    } else if (byte == '"' || byte == '\\') {
      char escape[] = {'\\', *at};
      replace(1, {escape, 2});
    } else if (byte == '\n') {
      replace(1, "\\n");
    } else if (byte == '\t') {
      replace(1, "\\t");
    } else if (byte == '\r') {
      replace(1, "\\r");
    } else {
      char escape[] = {'\\', 'u', '0', '0', kHex[byte >> 4], kHex[byte & 15]};
      replace(1, {escape, 6});
    }
  }
  out.append(copied, end);
  out += '"';
}

std::string quote_json(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 2);
  append_quoted(out, text);
  return out;
}

std::string to_valid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  const char* end = text.data() + text.size();
  for (const char* at = text.data(); at != end;) {
    Utf8Step step = step_utf8(at, end);
    if (step.valid)
      out.append(at, static_cast<size_t>(step.size));
    else
      out += "\xef\xbf\xbd";
    at += step.size;
  }
  return out;
}

bool is_valid_utf8(std::string_view text) {
  const char* end = text.data() + text.size();
  for (const char* at = text.data(); at != end;) {
    Utf8Step step = step_utf8(at, end);
    if (!step.valid) return false;
    at += step.size;
  }
  return true;
}

}  // namespace opscore
