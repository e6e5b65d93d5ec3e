#include "opscore/net/sse_reader.h"

#include <fmt/format.h>

#include <charconv>

namespace opscore {
namespace {

constexpr std::string_view kBom = "\xEF\xBB\xBF";

}  // namespace

std::expected<std::vector<SseEvent>, Error> SseReader::feed(std::string_view bytes) {
  std::vector<SseEvent> out;
  while (!bytes.empty()) {
    if (after_cr_) {
      after_cr_ = false;
      if (bytes.front() == '\n') {
        bytes.remove_prefix(1);
        continue;
      }
    }
    const size_t end = bytes.find_first_of("\r\n");
    const std::string_view piece = bytes.substr(0, end);
    if (line_.size() + piece.size() > limits_.line_bytes_max)
      return std::unexpected(Error(
          Errc::too_large,
          fmt::format("read an event stream: a line exceeds {} bytes", limits_.line_bytes_max)));
    line_ += piece;
    if (end == std::string_view::npos) break;
    after_cr_ = bytes[end] == '\r';
    bytes.remove_prefix(end + 1);
    if (auto taken = take_line(out); !taken) return std::unexpected(taken.error());
  }
  return out;
}

std::expected<std::vector<SseEvent>, Error> SseReader::finish() {
  std::vector<SseEvent> out;
  if (!line_.empty())
    if (auto taken = take_line(out); !taken) return std::unexpected(taken.error());
  dispatch(out);
  return out;
}

std::expected<void, Error> SseReader::take_line(std::vector<SseEvent>& out) {
  std::string_view line = line_;
  if (at_start_ && line.starts_with(kBom)) line.remove_prefix(kBom.size());
  at_start_ = false;
  if (line.empty()) {
    dispatch(out);
  } else if (line.front() != ':') {
    const size_t colon = line.find(':');
    std::string_view value =
        colon == std::string_view::npos ? std::string_view() : line.substr(colon + 1);
    if (value.starts_with(' ')) value.remove_prefix(1);
    take_field(line.substr(0, colon), value);
  }
  line_.clear();
  if (data_.size() > limits_.event_bytes_max)
    return std::unexpected(Error(
        Errc::too_large,
        fmt::format("read an event stream: an event exceeds {} bytes", limits_.event_bytes_max)));
  return {};
}

void SseReader::take_field(std::string_view name, std::string_view value) {
  if (name == "data") {
    if (has_data_) data_ += '\n';
    data_ += value;
    has_data_ = true;
  } else if (name == "event") {
    type_ = value;
  } else if (name == "id") {
    if (value.find('\0') == std::string_view::npos) last_id_ = value;
  } else if (name == "retry") {
    int64_t ms = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), ms);
    if (error == std::errc() && end == value.data() + value.size() && ms >= 0) retry_ms_ = ms;
  }
}

void SseReader::dispatch(std::vector<SseEvent>& out) {
  if (has_data_) {
    SseEvent event{.data = std::move(data_), .id = last_id_};
    if (!type_.empty()) event.type = std::move(type_);
    out.push_back(std::move(event));
  }
  data_.clear();
  type_.clear();
  has_data_ = false;
}

}  // namespace opscore
