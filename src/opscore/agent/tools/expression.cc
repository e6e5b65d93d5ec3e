#include "opscore/agent/tools/expression.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <vector>

namespace opscore {
namespace {

constexpr size_t kBytesMax = 1000;
constexpr int kDepthMax = 64;

// Recursive descent; the first problem is kept and everything after it yields 0.
class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  std::expected<double, std::string> run() {
    const double value = sum();
    skip_space();
    if (problem_.empty() && at_ < text_.size()) fail(fmt::format("unexpected '{}'", shown()));
    if (problem_.empty() && !std::isfinite(value)) problem_ = "the result is not a finite number";
    if (!problem_.empty()) return std::unexpected(problem_);
    return value;
  }

 private:
  double sum() {
    double value = product();
    for (;;) {
      if (take('+'))
        value += product();
      else if (take('-'))
        value -= product();
      else
        return value;
    }
  }

  double product() {
    double value = with_sign();
    for (;;) {
      if (take('*'))
        value *= with_sign();
      else if (take('/'))
        value /= divisor();
      else if (take('%'))
        value = std::fmod(value, divisor());
      else
        return value;
    }
  }

  double divisor() {
    const double value = with_sign();
    if (value == 0) fail("division by zero");
    return problem_.empty() ? value : 1;
  }

  double with_sign() {
    if (depth_ >= kDepthMax) return fail(fmt::format("nested deeper than {}", kDepthMax));
    ++depth_;
    const double value = take('-') ? -with_sign() : take('+') ? with_sign() : power();
    --depth_;
    return value;
  }

  double power() {
    const double base = primary();
    if (!take('^')) return base;
    const double exponent = with_sign();
    const double value = std::pow(base, exponent);
    if (problem_.empty() && !std::isfinite(value))
      return fail(fmt::format("{} ^ {} is not a finite number", format_number(base),
                              format_number(exponent)));
    return value;
  }

  double primary() {
    if (!problem_.empty()) return 0;
    skip_space();
    if (take('(')) {
      const double value = sum();
      if (!take(')')) fail("expected ')'");
      return value;
    }
    if (at_ < text_.size() && is_letter(text_[at_])) return function();
    return number();
  }

  double number() {
    double value = 0;
    const char* begin = text_.data() + at_;
    const char* end = text_.data() + text_.size();
    // from_chars would also read "inf" and "nan".
    if (begin == end || !(is_digit(*begin) || *begin == '.'))
      return fail(begin == end ? "expected a number, but the expression ends"
                               : fmt::format("expected a number instead of '{}'", shown()));
    const auto [stop, error] = std::from_chars(begin, end, value);
    if (error != std::errc()) return fail("not a number that can be computed with");
    at_ = static_cast<size_t>(stop - text_.data());
    return value;
  }

  double function() {
    const size_t begin = at_;
    while (at_ < text_.size() && is_letter(text_[at_])) ++at_;
    const std::string_view name = text_.substr(begin, at_ - begin);
    std::vector<double> values;
    if (!take('(')) {
      at_ = begin;
      return fail(fmt::format("unknown word '{}'", name));
    }
    do values.push_back(sum());
    while (problem_.empty() && take(','));
    if (!take(')')) fail("expected ')'");
    return problem_.empty() ? apply(name, values) : 0;
  }

  double apply(std::string_view name, const std::vector<double>& values) {
    if (name == "min") return *std::min_element(values.begin(), values.end());
    if (name == "max") return *std::max_element(values.begin(), values.end());
    if (name != "sqrt" && name != "abs" && name != "round")
      return fail(fmt::format("unknown function '{}': there are sqrt, abs, round, min, max", name));
    if (values.size() != 1) return fail(fmt::format("{} takes one value", name));
    if (name == "abs") return std::abs(values[0]);
    if (name == "round") return std::round(values[0]);
    if (values[0] < 0) return fail("the square root of a negative number is not real");
    return std::sqrt(values[0]);
  }

  double fail(std::string what) {
    if (problem_.empty()) problem_ = fmt::format("{} (at position {})", what, at_ + 1);
    return 0;
  }

  bool take(char c) {
    if (!problem_.empty()) return false;
    skip_space();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  void skip_space() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string::npos)
      ++at_;
  }

  // The character here, whole when it is longer than a byte.
  std::string_view shown() const {
    size_t end = at_ + 1;
    while (end < text_.size() && (static_cast<unsigned char>(text_[end]) & 0xC0) == 0x80) ++end;
    return text_.substr(at_, end - at_);
  }

  static bool is_digit(char c) { return c >= '0' && c <= '9'; }
  static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

  std::string_view text_;
  size_t at_ = 0;
  int depth_ = 0;
  std::string problem_;
};

}  // namespace

std::expected<double, std::string> evaluate_expression(std::string_view text) {
  if (text.size() > kBytesMax)
    return std::unexpected(fmt::format("the expression is longer than {} bytes", kBytesMax));
  return Parser(text).run();
}

std::string format_number(double value) {
  constexpr double kExactMax = 9007199254740992;  // 2^53
  if (value == std::trunc(value) && std::abs(value) <= kExactMax)
    return fmt::format("{}", static_cast<int64_t>(value));
  return fmt::format("{:.15g}", value);
}

}  // namespace opscore
