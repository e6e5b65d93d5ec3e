#include "opscore/actor/exec/exec_outcome.h"

#include <fmt/format.h>

#include "opscore/base/json.h"
#include "opscore/model/error_kind.h"

namespace opscore {
namespace {

constexpr size_t kExcerptBytes = 80;

Outcome too_large(const std::string& what, size_t limit, const std::string& tail) {
  return Outcome::fail({error_kind::kResultTooLarge,
                        fmt::format("{} is over the limit of {} bytes", what, limit), tail},
                       false);
}

Outcome bad_output(std::string_view output, const std::string& problem, const std::string& tail) {
  std::string message = fmt::format("stdout {}", problem);
  if (!output.empty())
    message += fmt::format("; it begins with {}",
                           quote_json(to_valid_utf8(output.substr(0, kExcerptBytes))));
  return Outcome::fail({error_kind::kBadOutput, message, tail}, false);
}

std::string_view without_space(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

Outcome result_of(const ExecOptions& options, std::string_view output, const std::string& tail) {
  std::string result;
  if (options.output == ExecOptions::Output::json) {
    std::string_view json = without_space(output);
    if (json.empty()) return bad_output({}, "is empty; it must be one JSON value", tail);
    // Checked with the white space before it, so that line and column are those of the output.
    if (auto checked = check_json(output); !checked)
      return bad_output(output, fmt::format("is not one JSON value: {}", checked.error().what()),
                        tail);
    result = json;
  } else {
    if (!is_valid_utf8(output)) return bad_output(output, "is not UTF-8", tail);
    if (output.ends_with('\n')) output.remove_suffix(1);
    result = quote_json(output);
  }
  if (result.size() > options.result_bytes_max)
    return too_large("the result as JSON", options.result_bytes_max, tail);
  return Outcome::complete(std::move(result));
}

Outcome exited(const ExecOptions& options, const ExitStatus& status, const std::string& tail) {
  auto meaning = options.exit_codes.find(status.code);
  ExitMeaning found;
  if (status.signal == 0 && meaning != options.exit_codes.end()) found = meaning->second;
  if (found.kind == ExitMeaning::Kind::snooze) {
    Outcome outcome = Outcome::snooze(found.delay, status.words());
    outcome.error.detail = tail;
    return outcome;
  }
  return Outcome::fail({error_kind::kActorError, status.words(), tail},
                       found.kind == ExitMeaning::Kind::retry);
}

}  // namespace

Outcome decide_exec(const ExecOptions& options, const ProgramEnd& end, const std::string& tail) {
  switch (end.why) {
    case ProgramEnd::Why::output_too_large:
      return too_large("stdout", options.result_bytes_max, tail);
    case ProgramEnd::Why::stopped:
      // Even when it exits with 0 then: what it had printed is not known to be whole.
      return Outcome::fail(
          {error_kind::kActorError, fmt::format("stopped: {}", end.status.words()), tail});
    case ProgramEnd::Why::timed_out: {
      Outcome outcome =
          Outcome::fail({error_kind::kTimeout,
                         fmt::format("ran longer than its timeout: {}", end.status.words()), tail});
      outcome.kind = Outcome::Kind::timed_out;
      return outcome;
    }
    case ProgramEnd::Why::exited:
      break;
  }
  return end.status.success() ? result_of(options, end.output, tail)
                              : exited(options, end.status, tail);
}

}  // namespace opscore
