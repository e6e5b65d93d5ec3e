#include "opscore/api/problem.h"

#include <charconv>
#include <optional>

#include "opscore/api/json_object.h"

namespace opscore {
namespace {

struct Place {
  int64_t line, column;
};

// The reader's messages say "... at line 3, column 7: ...".
std::optional<Place> place_in(std::string_view message) {
  auto number_after = [&](std::string_view word, size_t from, int64_t& number) {
    size_t at = message.find(word, from);
    if (at == std::string_view::npos) return std::string_view::npos;
    const char* begin = message.data() + at + word.size();
    auto [end, code] = std::from_chars(begin, message.data() + message.size(), number);
    return code == std::errc() ? static_cast<size_t>(end - message.data()) : std::string_view::npos;
  };
  Place place{};
  size_t after = number_after("line ", 0, place.line);
  if (after == std::string_view::npos) return std::nullopt;
  if (number_after("column ", after, place.column) == std::string_view::npos) return std::nullopt;
  return place;
}

void append(std::string& out, int status, std::string_view slug, std::string_view title,
            std::string_view detail, const Error* error) {
  JsonObject object(out);
  object.word("type", std::string("urn:opscore:error:").append(slug));
  object.text("title", title);
  object.number("status", status);
  object.text("detail", detail);
  if (error && !error->field().empty()) object.text("field", error->field());
  if (error && error->code() == Errc::malformed)
    if (auto place = place_in(detail)) {
      object.number("line", place->line);
      object.number("column", place->column);
    }
  object.close();
}

}  // namespace

void append_problem(std::string& out, const Error& error) {
  const ErrcInfo& row = info(error.code());
  append(out, row.http_status, row.slug, row.title, error.what(), &error);
}

Response problem(const Error& error) {
  Response response;
  response.status = info(error.code()).http_status;
  response.content_type = "application/problem+json";
  append_problem(response.body, error);
  if (error.code() == Errc::unauthenticated)
    response.headers.emplace_back("WWW-Authenticate", "Bearer realm=\"opscore\"");
  if (response.status == 503 || response.status == 429)
    response.headers.emplace_back("Retry-After", "1");
  return response;
}

Response problem(const HttpProblem& problem, std::string_view detail) {
  Response response;
  response.status = problem.status;
  response.content_type = "application/problem+json";
  append(response.body, problem.status, problem.slug, problem.title, detail, nullptr);
  return response;
}

}  // namespace opscore
