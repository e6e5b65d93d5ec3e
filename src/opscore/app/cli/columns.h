#pragma once
// How wide text is on a terminal. Pure. Text is UTF-8; bytes that are not count as one column each.

#include <string>
#include <string_view>

namespace opscore {

// East Asian wide characters and emoji take two columns, combining marks none.
size_t columns_of(std::string_view text);
// At most so many columns, the last of them an ellipsis when something was cut.
std::string cut(std::string_view text, size_t columns);
// Exactly so many columns: cut, or filled with spaces on the right or the left.
std::string fill_right(std::string_view text, size_t columns);
std::string fill_left(std::string_view text, size_t columns);

}  // namespace opscore
