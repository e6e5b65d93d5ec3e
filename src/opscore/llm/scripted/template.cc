#include "opscore/llm/scripted/template.h"

#include <charconv>

namespace opscore {
namespace {

constexpr std::string_view kExpressionBytes = "0123456789.+-*/%^() \t";
constexpr std::string_view kDigits = "0123456789";
constexpr size_t kExpressionMax = 500;

std::string shortened(const std::string& text, size_t bytes) {
  if (text.size() <= bytes) return text;
  while (bytes > 0 && (static_cast<unsigned char>(text[bytes]) & 0xC0) == 0x80) --bytes;
  return text.substr(0, bytes) + "…";
}

// Open and close as often, and never the other way round.
bool is_balanced(std::string_view text) {
  int depth = 0;
  for (char c : text) {
    if (c == '(') ++depth;
    if (c == ')' && --depth < 0) return false;
  }
  return depth == 0;
}

bool is_date(std::string_view text) {
  // 2026-11-20
  return text.size() == 10 && text[4] == '-' && text[7] == '-' &&
         text.find_first_not_of("0123456789-") == std::string_view::npos;
}

// Punctuation of the sentence around an expression: "what is 2 + 2." or "- 3 * 4".
std::string_view trimmed(std::string_view text) {
  while (!text.empty() && kDigits.find(text.back()) == std::string_view::npos && text.back() != ')')
    text.remove_suffix(1);
  while (!text.empty() && std::string_view(" \t.)").find(text.front()) != std::string_view::npos)
    text.remove_prefix(1);
  while (text.starts_with("- ") || text.starts_with("* ") || text.starts_with("+ "))
    text.remove_prefix(2);
  while (!text.empty() && !is_balanced(text) && (text.back() == ')' || text.front() == '('))
    text.back() == ')' ? text.remove_suffix(1) : text.remove_prefix(1);
  return text;
}

bool is_expression(std::string_view text) {
  if (text.empty() || text.size() > kExpressionMax || is_date(text) || !is_balanced(text))
    return false;
  const size_t digit = text.find_first_of(kDigits);
  if (digit == std::string_view::npos) return false;
  const size_t op = text.find_first_of("+-*/%^", digit);
  return op != std::string_view::npos && text.find_first_of(kDigits, op) != std::string_view::npos;
}

}  // namespace

std::string fill_template(std::string_view text, const TemplateValues& values) {
  std::string out;
  for (;;) {
    const size_t open = text.find("{{");
    const size_t close = open == std::string_view::npos ? open : text.find("}}", open);
    if (close == std::string_view::npos) return out += text;
    out += text.substr(0, open);
    const std::string_view inside = text.substr(open + 2, close - open - 2);
    const size_t colon = inside.find(':');
    const auto value = values.find(inside.substr(0, colon));
    size_t most = std::string::npos;
    if (colon != std::string_view::npos)
      std::from_chars(inside.data() + colon + 1, inside.data() + inside.size(), most);
    if (value == values.end())
      out += text.substr(open, close + 2 - open);
    else
      out += shortened(value->second, most);
    text.remove_prefix(close + 2);
  }
}

Json fill_template_in(Json document, const TemplateValues& values) {
  if (document.is_string()) return fill_template(document.get_ref<const std::string&>(), values);
  for (Json& value : document)
    if (value.is_structured() || value.is_string())
      value = fill_template_in(std::move(value), values);
  return document;
}

std::string first_expression(std::string_view text) {
  for (size_t begin = 0; begin < text.size();) {
    begin = text.find_first_of(kExpressionBytes, begin);
    if (begin == std::string_view::npos) break;
    size_t end = text.find_first_not_of(kExpressionBytes, begin);
    if (end == std::string_view::npos) end = text.size();
    const std::string_view run = trimmed(text.substr(begin, end - begin));
    if (is_expression(run)) return std::string(run);
    begin = end;
  }
  return {};
}

}  // namespace opscore
