#pragma once
// A TaskContext that keeps what an actor tells it, for tests of actors.

#include <map>
#include <string>
#include <vector>

#include "opscore/actor/actor.h"

namespace opscore {

class RecordedContext final : public TaskContext {
 public:
  explicit RecordedContext(std::string input) : input_(std::move(input)) {}

  const std::string& id() const override { return id_; }
  const std::string& type() const override { return type_; }
  const std::string& input() const override { return input_; }
  int attempt() const override { return 3; }
  std::stop_token stop() const override { return stop_.get_token(); }
  Deadline deadline() const override { return deadline_; }
  const Clock& clock() const override { return clock_; }
  void progress(std::string json) override { progress_.push_back(std::move(json)); }
  void log(LogLevel, std::string_view line) override {
    lines_.emplace_back(line);
    if (on_line) on_line(line);
  }
  void notice(Notice notice) override { notices_.push_back(std::move(notice)); }
  std::string step(const std::string&, const std::string&, const std::string&,
                   const std::function<std::string()>& action) override {
    return action();
  }

  void request_stop() { stop_.request_stop(); }
  void set_deadline(Deadline deadline) { deadline_ = deadline; }
  const std::vector<std::string>& lines() const { return lines_; }
  const std::vector<std::string>& progresses() const { return progress_; }
  const std::vector<Notice>& notices() const { return notices_; }
  std::function<void(std::string_view)> on_line;

 private:
  const std::string id_ = "task_test";
  const std::string type_ = "test.type";
  const std::string input_;
  SystemClock clock_;
  std::stop_source stop_;
  Deadline deadline_ = Deadline::after(std::chrono::seconds(60));
  std::vector<std::string> lines_;
  std::vector<std::string> progress_;
  std::vector<Notice> notices_;
};

}  // namespace opscore
