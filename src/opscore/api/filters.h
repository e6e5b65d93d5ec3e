#pragma once
// Which tasks a request is about: the same conditions in the query of a list and in the body of a
// bulk job. Throws Error{invalid} with field(), and Error{malformed} for what is not JSON.

#include "opscore/api/query.h"
#include "opscore/engine/bulk_jobs.h"

namespace opscore {

// From status, task_type (or type), queue, label, created_after and created_before.
TaskFilter read_filter(const Query& query);
// From `limit`, 1 to 1000.
size_t read_limit(const Query& query);

struct JobBody {
  JobRequest request;
  bool dry_run = false;
};
// {"action", "filter": {...}, "all", "dry_run"}. In the filter the names are those of the query;
// status and label may be arrays, and "labels" is an object of names and values.
JobBody read_job(std::string_view body);

}  // namespace opscore
