#pragma once
// What a commit changed, as the text of one notification (at most 7,999 bytes):
//
//   news    = origin ";" queues ";" tasks ";" sessions
//   queues  = names separated by ",", each with ":" and the place, base 36, of the first new task
//             when there is one
//   tasks   = keys, ascending, each as the difference to the one before, base 36, separated by ","
//   sessions = numbers, base 36, separated by ","
//
// or `origin ";!"` when that does not fit: look at everything.

#include <optional>
#include <string>
#include <string_view>

#include "opscore/store/postgres/feed.h"

namespace opscore::postgres {

struct News {
  std::string origin;
  bool everything = false;
  Effects effects;
};

std::string channel_of(const std::string& schema);
// Empty for an empty change.
std::string encode_news(const std::string& origin, const Effects& effects);
// Nothing when the text is not of this form.
std::optional<News> decode_news(std::string_view text);

}  // namespace opscore::postgres
