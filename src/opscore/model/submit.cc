#include "opscore/model/submit.h"

#include "opscore/base/hash.h"
#include "opscore/base/json.h"
#include "opscore/model/names.h"

namespace opscore {

std::string derived_task_id(std::string_view message_id) {
  std::string id = "message:" + std::string(message_id);
  if (!task_id_problem(id)) return id;
  return "message:" + to_hex(sha256(message_id)).substr(0, 32);
}

InsertResult replay_of(const TakenKey& taken) {
  return {InsertResult::Kind::replayed, taken.by, taken.state, {}};
}

InsertResult answer_taken(const InsertItem& item, const UniqueKey& key, const TakenKey& taken) {
  if (item.on_conflict != InsertItem::OnConflict::refuse && taken.hash == item.request_hash)
    return replay_of(taken);
  return {InsertResult::Kind::conflict, taken.by, taken.state, key};
}

void take_derived_id(TaskOptions& options, std::string_view message_id) {
  if (options.adopted) options.adopted->wanted_id = options.id;
  std::string kept = "\"dramatiq_task_id\":" + quote_json(options.id) + '}';
  std::string& metadata = options.metadata;
  const bool is_empty = metadata.empty() || metadata == "{}";
  metadata = is_empty ? '{' + kept : metadata.substr(0, metadata.size() - 1) + ',' + kept;
  options.id = derived_task_id(message_id);
}

std::optional<InsertResult> refuse_by_limits(const LayeredLimits& limits, int64_t waiting,
                                             size_t input_bytes) {
  InsertResult refusal;
  refusal.limit = limits.in_force(&QueueLimits::max_input_bytes);
  refusal.kind = InsertResult::Kind::input_too_large;
  if (static_cast<int64_t>(input_bytes) > refusal.limit) return refusal;
  refusal.limit = limits.in_force(&QueueLimits::max_pending);
  refusal.kind = InsertResult::Kind::queue_full;
  if (waiting >= refusal.limit) return refusal;
  return std::nullopt;
}

}  // namespace opscore
