#pragma once
// Errors as problem+json (RFC 9457). `type` is urn:opscore:error:<slug>; docs/reference/errors.md
// lists every slug. Pure.

#include <string>
#include <string_view>

#include "opscore/api/request.h"
#include "opscore/base/error.h"

namespace opscore {

// Problems that only HTTP knows; all others come from the table in base/error.cc.
struct HttpProblem {
  int status;
  std::string_view slug;
  std::string_view title;
};
inline constexpr HttpProblem kRequestTimeout{408, "request-timeout", "Request too slow"};
inline constexpr HttpProblem kUrlTooLong{414, "url-too-long", "URL too long"};
inline constexpr HttpProblem kUnsupportedType{415, "unsupported-media-type",
                                              "Unsupported content type"};
inline constexpr HttpProblem kExpectationFailed{417, "expectation-failed", "Expectation failed"};
inline constexpr HttpProblem kHeaderTooLarge{431, "header-too-large", "Header too large"};
inline constexpr HttpProblem kHttpProblems[] = {kRequestTimeout, kUrlTooLong, kUnsupportedType,
                                                kExpectationFailed, kHeaderTooLarge};

Response problem(const Error& error);
Response problem(const HttpProblem& problem, std::string_view detail);

// The problem as a JSON object, for answers that hold several.
void append_problem(std::string& out, const Error& error);

}  // namespace opscore
