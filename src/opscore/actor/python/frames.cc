#include "opscore/actor/python/frames.h"

#include <fmt/format.h>

#include <bit>
#include <cstring>

#include "opscore/base/json.h"
#include "opscore/base/json_reader.h"

namespace opscore {
namespace {

static_assert(std::endian::native == std::endian::little, "lengths are written as they are");
constexpr size_t kLengthBytes = 4;
constexpr size_t kFrameBytesMax = 64 << 20;

std::string open_frame() {
  return std::string(kLengthBytes, '\0') + "[";
}

std::string close_frame(std::string frame) {
  frame += ']';
  const auto length = static_cast<uint32_t>(frame.size() - kLengthBytes);
  std::memcpy(frame.data(), &length, kLengthBytes);
  return frame;
}

std::string_view word_of(HostedStop why) {
  switch (why) {
    case HostedStop::timeout:
      return "timeout";
    case HostedStop::cancel:
      return "cancelled";
    case HostedStop::drain:
      return "draining";
  }
  return "draining";
}

std::string_view word_of(StepReply::Kind kind) {
  switch (kind) {
    case StepReply::Kind::run:
      return "run";
    case StepReply::Kind::recorded:
      return "recorded";
    case StepReply::Kind::mismatch:
      return "mismatch";
    case StepReply::Kind::refused:
      return "refused";
    case StepReply::Kind::failed:
      return "failed";
  }
  return "refused";
}

void append_run(std::string& out, const HostedTask& hosted) {
  const ClaimedTask& task = hosted.task;
  out += R"(["run",)";
  fmt::format_to(std::back_inserter(out), "{},", hosted.number);
  append_quoted(out, hosted.type);
  out += ',';
  append_quoted(out, hosted.id);
  fmt::format_to(std::back_inserter(out), ",{},{},{},{},", task.live.attempt, task.live.charged,
                 task.live.budget, hosted.timeout.count());
  out += task.input;
  out += ',';
  out += task.options.metadata.empty() ? "null" : task.options.metadata;
  out += ']';
}

// Reads one item, whose elements are visited in their order.
class ItemReader {
 public:
  ItemReader(JsonReader& in, ChildSpeech& speech) : in_(in), speech_(speech) {}

  void read() {
    size_t count = 0;
    in_.array([&](size_t index) {
      ++count;
      if (index == 0) return begin();
      if (!element_) in_.fail(Errc::corrupt, "an item of no known kind");
      (this->*element_)(index);
    });
    if (count == 0 || count != size_)
      in_.fail(Errc::corrupt, fmt::format("an item of {} elements", count));
  }

 private:
  using Element = void (ItemReader::*)(size_t);
  ChildNews& news() { return speech_.news; }

  // layout: table
  void begin() {
    const std::string word = in_.string();
    auto is = [&](std::string_view known, Element element, size_t size) {
      if (word != known) return false;
      element_ = element;
      size_ = size;
      return true;
    };
    if (is("done", &ItemReader::done, 5)) return news().ends.emplace_back(), void();
    if (is("fail", &ItemReader::fail, 9)) {
      news().ends.emplace_back().outcome = Outcome::fail({});
      return;
    }
    if (is("snooze", &ItemReader::snooze, 6)) {
      news().ends.emplace_back().outcome = Outcome::snooze(Duration(0));
      return;
    }
    if (is("log", &ItemReader::line, 4)) return news().lines.emplace_back(), void();
    if (is("progress", &ItemReader::progress, 3)) return news().progress.emplace_back(), void();
    if (is("step", &ItemReader::step, 6)) return news().steps.emplace_back(), void();
    if (is("did", &ItemReader::step, 8)) return news().steps.emplace_back(), void();
    if (is("dropped", &ItemReader::dropped, 2)) return;
    if (is("hello", &ItemReader::hello, 2)) return;
    if (is("importing", &ItemReader::importing, 4))
      return speech_.importing.emplace(ChildSpeech::Importing{}), void();
    if (is("refused", &ItemReader::refused, 3))
      return speech_.refused.emplace(ChildSpeech::Refused{}), void();
    in_.fail(Errc::corrupt, fmt::format("an item '{}'", word));
  }

  uint64_t number() { return static_cast<uint64_t>(in_.integer()); }
  SteadyPoint instant() { return SteadyPoint(std::chrono::nanoseconds(in_.integer())); }

  // What the ends of all kinds begin with; false: not one of them.
  bool end(size_t index) {
    ChildNews::End& end = news().ends.back();
    if (index == 1) end.number = number();
    if (index == 2) end.began = instant();
    if (index == 3) end.left = instant();
    return index <= 3;
  }

  void done(size_t index) {
    if (!end(index)) news().ends.back().outcome.result = in_.raw();
  }

  void fail(size_t index) {
    if (end(index)) return;
    Outcome& outcome = news().ends.back().outcome;
    if (index == 4) outcome.error.kind = in_.string();
    if (index == 5) outcome.error.message = in_.string();
    if (index == 6) outcome.error.detail = in_.string();
    if (index == 7) outcome.retryable = in_.boolean();
    if (index == 8 && !in_.null_or_skip_null()) outcome.delay = Duration(in_.integer());
  }

  void snooze(size_t index) {
    if (end(index)) return;
    Outcome& outcome = news().ends.back().outcome;
    if (index == 4) outcome.delay = Duration(in_.integer());
    if (index == 5) outcome.error.message = in_.string();
  }

  void line(size_t index) {
    ChildNews::Line& line = news().lines.back();
    if (index == 1) line.number = number();
    if (index == 2) line.level = parse_log_level(in_.string());
    if (index == 3) line.text = in_.string();
  }

  void progress(size_t index) {
    if (index == 1) news().progress.back().number = number();
    if (index == 2) news().progress.back().json = in_.raw();
  }

  void step(size_t index) {
    ChildNews::Step& step = news().steps.back();
    if (index == 1) step.number = number();
    if (index == 2) step.call = number();
    if (index == 3) step.kind = in_.string();
    if (index == 4) step.name = in_.string();
    if (index == 5) step.request = in_.raw();
    if (index == 6) step.answer = in_.raw();
    if (index == 7) step.took = Duration(in_.integer());
  }

  void dropped(size_t) { news().dropped.push_back(number()); }
  void hello(size_t) { speech_.hello = in_.raw(); }

  void importing(size_t index) {
    if (index == 1) speech_.importing->module = in_.string();
    if (index == 2) speech_.importing->since = Duration(in_.integer());
    if (index == 3) speech_.importing->stack = in_.string();
  }

  void refused(size_t index) {
    (index == 1 ? speech_.refused->words : speech_.refused->trace) = in_.string();
  }

  JsonReader& in_;
  ChildSpeech& speech_;
  Element element_ = nullptr;
  size_t size_ = 0;
};

}  // namespace

std::string run_frame(const std::vector<HostedTask>& tasks) {
  std::string frame = open_frame();
  for (const HostedTask& task : tasks) {
    if (&task != &tasks.front()) frame += ',';
    append_run(frame, task);
  }
  return close_frame(std::move(frame));
}

std::string stop_frame(uint64_t number, HostedStop why) {
  return close_frame(open_frame() + fmt::format(R"(["stop",{},"{}"])", number, word_of(why)));
}

std::string take_back_frame(uint64_t number) {
  return close_frame(open_frame() + fmt::format(R"(["back",{}])", number));
}

// A recorded answer is JSON already; other words become a string.
std::string step_frame(uint64_t call, const StepReply& reply) {
  std::string frame = open_frame() + fmt::format(R"(["step",{},"{}")", call, word_of(reply.kind));
  if (reply.kind == StepReply::Kind::recorded) {
    frame += ',' + reply.answer;
  } else if (reply.kind != StepReply::Kind::run) {
    frame += ',';
    append_quoted(frame, reply.answer);
  }
  return close_frame(frame + ']');
}

ChildSpeech parse_speech(std::string_view payload) {
  ChildSpeech speech;
  JsonReader in(payload);
  in.array([&](size_t) { ItemReader(in, speech).read(); });
  in.end();
  return speech;
}

std::optional<std::string_view> FrameReader::next() {
  if (buffer_.size() - done_ < kLengthBytes) {
    buffer_.erase(0, std::exchange(done_, 0));
    return std::nullopt;
  }
  uint32_t length = 0;
  std::memcpy(&length, buffer_.data() + done_, kLengthBytes);
  if (length > kFrameBytesMax)
    throw Error(Errc::too_large, fmt::format("a frame of {} bytes", length));
  if (buffer_.size() - done_ < kLengthBytes + length) {
    buffer_.erase(0, std::exchange(done_, 0));
    return std::nullopt;
  }
  std::string_view payload(buffer_.data() + done_ + kLengthBytes, length);
  done_ += kLengthBytes + length;
  return payload;
}

}  // namespace opscore
