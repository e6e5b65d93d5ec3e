#include "opscore/actor/output_result.h"

#include <fmt/format.h>

#include "opscore/base/json.h"
#include "opscore/model/error_kind.h"

namespace opscore {
namespace {

constexpr size_t kExcerptBytes = 80;

Outcome bad_output(std::string_view what, std::string_view output, const std::string& problem,
                   const std::string& detail) {
  std::string message = fmt::format("{} {}", what, problem);
  if (!output.empty())
    message += fmt::format("; it begins with {}",
                           quote_json(to_valid_utf8(output.substr(0, kExcerptBytes))));
  return Outcome::fail({error_kind::kBadOutput, message, detail}, false);
}

std::string_view without_space(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

}  // namespace

Outcome output_result(std::string_view what, std::string_view output, OutputFormat format,
                      size_t result_bytes_max, const std::string& detail) {
  std::string result;
  if (format == OutputFormat::json) {
    std::string_view json = without_space(output);
    if (json.empty()) return bad_output(what, {}, "is empty; it must be one JSON value", detail);
    // Checked with the white space before it, so that line and column are those of the output.
    if (auto checked = check_json(output); !checked)
      return bad_output(what, output,
                        fmt::format("is not one JSON value: {}", checked.error().what()), detail);
    result = json;
  } else {
    if (!is_valid_utf8(output)) return bad_output(what, output, "is not UTF-8", detail);
    result = quote_json(output);
  }
  if (result.size() > result_bytes_max)
    return too_large("the result as JSON", result_bytes_max, detail);
  return Outcome::complete(std::move(result));
}

Outcome too_large(std::string_view what, size_t limit, const std::string& detail) {
  return Outcome::fail({error_kind::kResultTooLarge,
                        fmt::format("{} is over the limit of {} bytes", what, limit), detail},
                       false);
}

}  // namespace opscore
