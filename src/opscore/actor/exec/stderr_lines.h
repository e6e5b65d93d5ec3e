#pragma once
// What a program says on stderr, line by line: `::progress {json}` lines are progress, all others
// are log lines, and the last of them are kept for the error. Pure; not thread-safe.

#include <functional>
#include <string>
#include <string_view>

namespace opscore {

class StderrLines {
 public:
  static constexpr size_t kTailBytes = 8 * 1024;
  // A longer line is handed on in pieces of this size.
  static constexpr size_t kLineBytes = 64 * 1024;

  using Take = std::function<void(std::string)>;
  // `progress` gets strict JSON. `log` gets valid UTF-8 without the line's end, and every progress
  // line whose JSON is bad, with the reason.
  StderrLines(Take log, Take progress) : log_(std::move(log)), progress_(std::move(progress)) {}

  void feed(std::string_view bytes);
  // Hands on a last line without an end.
  void finish();
  // The end of what was logged: at most kTailBytes of valid UTF-8.
  std::string tail() const;

 private:
  void take(std::string_view line);

  const Take log_;
  const Take progress_;
  std::string partial_;
  std::string tail_;
};

}  // namespace opscore
