#include "opscore/broker/rabbitmq/token.h"

#include <fmt/format.h>

#include "opscore/base/json.h"

namespace opscore {
namespace {

std::unexpected<Error> malformed(std::string_view what) {
  return std::unexpected(Error(Errc::malformed, std::string(what)));
}

}  // namespace

std::string encode_token(const Hint& hint) {
  return fmt::format(R"({{"queue":{},"n":{}}})", quote_json(hint.queue), hint.tasks);
}

std::expected<Hint, Error> decode_token(std::string_view body) {
  if (body.size() > kTokenBytesMax) return malformed("it is too long for a token");
  if (auto checked = check_json(body); !checked) return std::unexpected(checked.error());
  Json json = parse_json(body);
  if (!json.is_object()) return malformed("a token is a JSON object");
  auto queue = json.find("queue");
  if (queue == json.end() || !queue->is_string()) return malformed("it has no text `queue`");
  auto tasks = json.find("n");
  if (tasks == json.end() || !tasks->is_number_unsigned() || *tasks == 0)
    return malformed("it has no positive integer `n`");
  return Hint{queue->get<std::string>(), tasks->get<size_t>()};
}

}  // namespace opscore
