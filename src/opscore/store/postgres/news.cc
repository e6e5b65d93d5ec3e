#include "opscore/store/postgres/news.h"

#include <algorithm>
#include <charconv>

#include "opscore/base/hash.h"

namespace opscore::postgres {
namespace {

constexpr size_t kPayloadMax = 7999;

void append_number(std::string& out, int64_t value) {
  char digits[16];
  auto end = std::to_chars(digits, digits + sizeof digits, value, 36).ptr;
  out.append(digits, end);
}

// Cuts the part before `mark` off `rest`; the whole when there is no mark.
std::string_view cut(std::string_view& rest, char mark) {
  size_t end = std::min(rest.find(mark), rest.size());
  std::string_view part = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return part;
}

bool read_number(std::string_view text, int64_t& value) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 36);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

// A channel is a name of at most 63 bytes; a schema's may be as long by itself.
std::string channel_of(const std::string& schema) {
  std::string channel = "opscore:" + schema;
  return channel.size() < 64 ? channel : "opscore:" + to_hex(sha256(schema)).substr(0, 40);
}

std::string encode_news(const std::string& origin, const Effects& effects) {
  const Change& change = effects.change;
  if (change.queues.empty() && change.tasks.empty() && change.sessions.empty()) return {};
  std::string news = origin + ';';
  for (size_t i = 0; i < change.queues.size(); ++i) {
    news += (i > 0 ? "," : "") + change.queues[i];
    auto place = effects.places.find(change.queues[i]);
    if (place == effects.places.end()) continue;
    news += ':';
    append_number(news, place->second);
  }
  news += ';';
  auto keys = change.tasks;
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  int64_t before = 0;
  for (TaskKey key : keys) {
    if (before != 0) news += ',';
    append_number(news, key.value - before);
    before = key.value;
  }
  news += ';';
  for (size_t i = 0; i < change.sessions.size(); ++i) {
    if (i > 0) news += ',';
    append_number(news, change.sessions[i].value);
  }
  return news.size() <= kPayloadMax ? news : origin + ";!";
}

std::optional<News> decode_news(std::string_view text) {
  News news;
  if (text.find(';') == text.npos) return std::nullopt;
  news.origin = cut(text, ';');
  if (text == "!") {
    news.everything = true;
    return news;
  }
  auto queues = cut(text, ';'), tasks = cut(text, ';'), sessions = text;
  int64_t key = 0, number = 0;
  while (!queues.empty()) {
    std::string_view place = cut(queues, ',');
    std::string name(cut(place, ':'));
    if (!place.empty() && !read_number(place, news.effects.places[name])) return std::nullopt;
    news.effects.change.queues.push_back(std::move(name));
  }
  while (!tasks.empty()) {
    if (!read_number(cut(tasks, ','), number)) return std::nullopt;
    news.effects.change.tasks.push_back(TaskKey{key += number});
  }
  while (!sessions.empty()) {
    if (!read_number(cut(sessions, ','), number)) return std::nullopt;
    news.effects.change.sessions.push_back(SessionId{number});
  }
  return news;
}

}  // namespace opscore::postgres
