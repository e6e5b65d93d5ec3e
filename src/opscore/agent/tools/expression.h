#pragma once
// Arithmetic for the calculator tool. Pure.
//
//   sum      = product *(("+" | "-") product)
//   product  = signed *(("*" | "/" | "%") signed)
//   signed   = ("-" | "+") signed | power           -2^2 is -4
//   power    = primary ["^" signed]                 2^3^2 is 2^9
//   primary  = number | "(" sum ")" | function "(" sum *("," sum) ")"
//   function = "sqrt" | "abs" | "round" | "min" | "max"
//   number   = digits ["." [digits]] [("e" | "E") ["+" | "-"] digits] | "." digits ...

#include <expected>
#include <string>
#include <string_view>

namespace opscore {

// In doubles. The error says what is wrong and where: text that is no expression, division by zero,
// a result that is not a finite number, nesting deeper than 64, more than 1000 bytes.
std::expected<double, std::string> evaluate_expression(std::string_view text);

// Whole numbers without a point, others with at most 15 significant digits.
std::string format_number(double value);

}  // namespace opscore
