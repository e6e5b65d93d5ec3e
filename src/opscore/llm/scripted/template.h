#pragma once
// The {{placeholders}} of scripts. Pure.

#include <map>
#include <string>
#include <string_view>

#include "opscore/base/json.h"

namespace opscore {

using TemplateValues = std::map<std::string, std::string, std::less<>>;

// Replaces {{name}} by its value, {{name:N}} by at most N bytes of it (whole characters, with an
// ellipsis when cut). An unknown name stays as it is. Values are not looked at again.
std::string fill_template(std::string_view text, const TemplateValues& values);
// The same in every string of a document.
Json fill_template_in(Json document, const TemplateValues& values);

// The first run of the text that looks like arithmetic, "2 * (3 + 4)"; empty when there is none.
// Dates and times ("2026-11-20", "10:30") are not arithmetic.
std::string first_expression(std::string_view text);

}  // namespace opscore
