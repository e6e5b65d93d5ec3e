#pragma once
// Incremental reader of server-sent events (WHATWG HTML, section 9.2.6). Pure: bytes in, events
// out, wherever the pieces were cut, inside a UTF-8 sequence or between CR and LF.
//
//   stream = [BOM] *event [partial]         an event ends with an empty line
//   line   = *byte (CR LF | LF | CR)
//   field  = name [":" [SP] value]          "data", "event", "id", "retry"; others are ignored
//   ":" at the start of a line makes it a comment
//
// Not thread-safe.

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "opscore/base/error.h"

namespace opscore {

struct SseEvent {
  std::string type = "message";
  std::string data;  // the data lines, joined by LF
  std::string id;    // the last one seen, also by earlier events
  bool operator==(const SseEvent&) const = default;
};

struct SseLimits {
  size_t line_bytes_max = 4 << 20;
  size_t event_bytes_max = 8 << 20;  // data of one event
};

class SseReader {
 public:
  explicit SseReader(SseLimits limits = {}) : limits_(limits) {}

  // The events completed by these bytes. too_large: a line or an event exceeds its limit; the
  // reader must not be used afterwards.
  std::expected<std::vector<SseEvent>, Error> feed(std::string_view bytes);
  // At the end of the stream: an event whose last line or empty line is missing. The standard drops
  // it; servers that end a stream without the empty line exist, so the caller decides.
  std::expected<std::vector<SseEvent>, Error> finish();
  // The last `retry:` of the stream, in milliseconds.
  std::optional<int64_t> retry_ms() const { return retry_ms_; }

 private:
  std::expected<void, Error> take_line(std::vector<SseEvent>& out);
  void take_field(std::string_view name, std::string_view value);
  void dispatch(std::vector<SseEvent>& out);

  SseLimits limits_;
  std::string line_;  // the unfinished line
  std::string data_;
  std::string type_;
  std::string last_id_;
  std::optional<int64_t> retry_ms_;
  bool has_data_ = false;
  bool after_cr_ = false;  // a LF next belongs to the line end already taken
  bool at_start_ = true;   // of the stream: a BOM may come
};

}  // namespace opscore
