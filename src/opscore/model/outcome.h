#pragma once
// What one run of an actor came to: the value every Actor::run returns.

#include <optional>
#include <string>
#include <vector>

#include "opscore/model/task.h"

namespace opscore {

// Something unusual about an attempt, for the history of its task.
struct Notice {
  std::string kind;  // of the event
  std::string data;  // JSON object
  bool operator==(const Notice&) const = default;
};

struct Outcome {
  enum class Kind : uint8_t {
    completed,
    failed,
    snoozed,      // run me again after `delay`; not charged
    timed_out,    // set by the runner
    stopped,      // ended because a cancel was asked for; set by the runner
    handed_back,  // not run, or stopped for a drain; not charged; set by the runner
    lost,         // the slot was abandoned, or its process is gone; set by the runner
    crashed,      // the process that ran it died, perhaps because of it; set by the runner
  };
  Kind kind = Kind::completed;
  std::string result = "null";    // JSON, when completed
  ErrorInfo error;                // otherwise
  bool retryable = true;          // when failed
  bool charged = true;            // when failed and not retryable
  std::optional<Duration> delay;  // when failed: wins over the backoff; when snoozed: how long
  std::vector<Notice> notices;    // what happened on the way, whatever came of it

  static Outcome complete(std::string result_json) {
    Outcome outcome;
    outcome.result = std::move(result_json);
    return outcome;
  }
  static Outcome fail(ErrorInfo error, bool retryable = true,
                      std::optional<Duration> retry_after = {}) {
    return {Kind::failed, {}, std::move(error), retryable, true, retry_after, {}};
  }
  // The actor was not even asked.
  static Outcome refuse(ErrorInfo error) {
    return {Kind::failed, {}, std::move(error), false, false, {}, {}};
  }
  static Outcome snooze(Duration delay, std::string why = {}) {
    return {Kind::snoozed, {}, {"snoozed", std::move(why), {}}, true, true, delay, {}};
  }
};

}  // namespace opscore
