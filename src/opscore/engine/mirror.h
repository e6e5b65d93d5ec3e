#pragma once
// Hears what Python says of the tasks that it runs, and has the store apply it: reports come in
// batches, may be late, repeated or missing, and each is answered for itself. Safe for concurrent
// use; a report that was answered is durable.

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "opscore/base/metrics.h"
#include "opscore/model/limits.h"
#include "opscore/model/report.h"
#include "opscore/store/store.h"

namespace opscore {

namespace event_kind {
// Python returned what cannot be kept. Data: reason.
inline constexpr char kResultNotKept[] = "result_not_kept";
}  // namespace event_kind

struct MirroredReport {
  std::string message_id;
  Report report;         // with the number of the attempt
  std::string progress;  // JSON, with Report::Kind::running; or empty
  std::string problem;   // why there is no result, when there should be one
};

enum class ReportAnswer : uint8_t {
  applied,
  known,    // it was on record
  too_old,  // a later attempt, or another end, is on record
  unknown,  // no task that Python runs has this message
};
std::string_view to_string(ReportAnswer answer);

class Mirror {
 public:
  // All must outlive it.
  Mirror(Store& store, const Clock& clock, Metrics& metrics,
         size_t result_bytes_max = limits::kPayloadBytes);

  // One answer for each, in order.
  std::vector<ReportAnswer> hear(std::vector<MirroredReport> reports);

 private:
  struct Batch;
  std::optional<Task> find(const std::string& message_id);
  Mirrored decide(const Task& task, MirroredReport heard) const;
  std::set<TaskKey> apply(std::vector<Plan> plans);
  // Decides all that has no answer yet, and applies it; whether all have one now.
  bool settle(Batch& batch);
  void refresh(const Batch& batch);

  Store& store_;
  const Clock& clock_;
  const size_t result_bytes_max_;
  Metrics& metrics_;
};

}  // namespace opscore
