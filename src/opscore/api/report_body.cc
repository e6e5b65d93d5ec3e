#include "opscore/api/report_body.h"

#include <fmt/format.h>

#include <array>

#include "opscore/base/json_reader.h"
#include "opscore/model/error_kind.h"

namespace opscore {
namespace {

constexpr size_t kTextMax = 256;        // message ids, names of workers
constexpr size_t kErrorMax = 64 << 10;  // of a message or traceback: what is beyond is cut off
constexpr int64_t kCountMax = 1'000'000'000;
constexpr int64_t kMsMax = 253'402'300'799'999;  // the end of the year 9999

struct KindWord {
  std::string_view word;
  Report::Kind kind;
};
constexpr std::array<KindWord, 6> kKinds{{{"running", Report::Kind::running},
                                          {"progress", Report::Kind::running},
                                          {"completed", Report::Kind::completed},
                                          {"retrying", Report::Kind::retrying},
                                          {"failed", Report::Kind::failed},
                                          {"skipped", Report::Kind::skipped}}};

std::string read_text(JsonReader& in) {
  std::string text = in.string();
  if (text.empty() || text.size() > kTextMax)
    in.fail(Errc::invalid, fmt::format("must be a text of 1 to {} bytes", kTextMax));
  return text;
}

int64_t read_number(JsonReader& in, int64_t max) {
  int64_t number = in.integer();
  if (number < 0 || number > max) in.fail(Errc::invalid, fmt::format("must be 0..{}", max));
  return number;
}

std::string cut(std::string text) {
  if (text.size() <= kErrorMax) return text;
  size_t end = kErrorMax;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  text.resize(end);
  return text + "...";
}

ErrorInfo read_error(JsonReader& in) {
  ErrorInfo error;
  in.object([&](std::string_view name) {
    if (name == "type")
      error.kind = read_text(in);
    else if (name == "message")
      error.message = cut(in.string());
    else if (name == "traceback")
      error.detail = cut(in.string());
    else
      in.fail(Errc::invalid, "unknown field; known: type, message, traceback");
  });
  return error;
}

Report::Kind read_kind(JsonReader& in) {
  const std::string word = in.string();
  for (const KindWord& known : kKinds)
    if (known.word == word) return known.kind;
  in.fail(Errc::invalid, "must be one of running, progress, completed, retrying, failed, skipped");
}

struct Reading {
  MirroredReport heard;
  std::optional<Report::Kind> kind;
  int64_t retries = 0;
  int64_t attempts_before = 0;
};

void read_member(JsonReader& in, std::string_view name, Reading& reading) {
  Report& report = reading.heard.report;
  if (name == "message_id")
    reading.heard.message_id = read_text(in);
  else if (name == "kind")
    reading.kind = read_kind(in);
  else if (name == "retries")
    reading.retries = read_number(in, kCountMax);
  else if (name == "attempts_before")
    reading.attempts_before = read_number(in, kCountMax);
  else if (name == "at")
    report.at = from_ms(read_number(in, kMsMax));
  else if (name == "started")
    report.started_at = from_ms(read_number(in, kMsMax));
  else if (name == "result_problem")
    reading.heard.problem = read_text(in);
  else if (name == "eta")
    report.next_at = from_ms(read_number(in, kMsMax));
  else if (name == "worker")
    report.worker = read_text(in);
  else if (name == "result")
    report.result = in.raw();
  else if (name == "progress")
    reading.heard.progress = in.raw();
  else if (name == "error")
    report.error = read_error(in);
  else
    in.fail(Errc::invalid, "unknown field");
}

MirroredReport read_report(JsonReader& in, TimePoint now) {
  Reading reading;
  Report& report = reading.heard.report;
  report.at = now;
  in.object([&](std::string_view name) { read_member(in, name, reading); });
  if (reading.heard.message_id.empty()) in.fail(Errc::invalid, "message_id is missing");
  if (!reading.kind) in.fail(Errc::invalid, "kind is missing");
  report.kind = *reading.kind;
  report.attempt = static_cast<int>(reading.attempts_before + reading.retries + 1);
  if (report.kind == Report::Kind::completed && report.result.empty()) report.result = "null";
  const bool fails = report.kind == Report::Kind::retrying || report.kind == Report::Kind::failed;
  if (fails && report.error.kind.empty()) report.error.kind = error_kind::kActorError;
  if (report.kind == Report::Kind::skipped && report.error.kind.empty())
    report.error.kind = error_kind::kSkipped;
  return std::move(reading.heard);
}

}  // namespace

std::vector<MirroredReport> read_reports(std::string_view body, TimePoint now) {
  std::vector<MirroredReport> reports;
  JsonReader in(body);
  in.object([&](std::string_view name) {
    if (name != "reports") in.fail(Errc::invalid, "unknown field; known: reports");
    in.array([&](size_t index) {
      if (index == kReportsMax)
        in.fail(Errc::too_large, fmt::format("at most {} reports in one request", kReportsMax));
      reports.push_back(read_report(in, now));
    });
  });
  in.end();
  return reports;
}

}  // namespace opscore
