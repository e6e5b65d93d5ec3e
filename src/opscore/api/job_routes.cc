// Bulk jobs: one action on every task that a filter matches.

#include <fmt/format.h>

#include "opscore/api/filters.h"
#include "opscore/api/json_object.h"
#include "opscore/api/query.h"
#include "opscore/api/routes.h"
#include "opscore/api/views.h"

namespace opscore {
namespace {

Response job_response(const Job& job, int status) {
  Response response;
  response.status = status;
  append_job(response.body, job);
  return response;
}

Response estimate_response(JobAction action, const JobEstimate& estimate) {
  Response response;
  std::string& out = response.body;
  JsonObject object(out);
  object.boolean("dry_run", true);
  object.word("action", to_string(action));
  object.raw("filter", {});
  append_filter(out, estimate.filter);
  object.boolean("exact", estimate.exact);
  object.number("examined", estimate.counts.examined);
  object.number("matched", estimate.counts.matched);
  object.number("would_do", estimate.counts.done);
  object.raw("skipped", {});
  append_skipped(out, estimate.counts.skipped);
  object.text("summary", fmt::format("would {} {}{} task{}", to_string(action),
                                     estimate.exact ? "" : "at least ", estimate.counts.done,
                                     estimate.counts.done == 1 ? "" : "s"));
  object.close();
  return response;
}

}  // namespace

Reply Routes::start_job(const Call& call) {
  Query query(call.request.query, {});
  JobBody body = read_job(call.request.body);
  JobAction action = body.request.action;
  if (body.dry_run)
    return estimate_response(action, service_.bulk().estimate(std::move(body.request)));
  Job job = service_.bulk().start(std::move(body.request));
  Response response = job_response(job, 202);
  response.headers.emplace_back("Location", "/api/v1/jobs/" + BulkJobs::id_of(job.id));
  return response;
}

Reply Routes::list_jobs(const Call& call) {
  Query query(call.request.query, {"limit"});
  return list_response("jobs", service_.bulk().list(read_limit(query)), append_job);
}

Reply Routes::get_job(const Call& call) {
  Query query(call.request.query, {});
  return job_response(service_.bulk().get(call.args[0]), 200);
}

Reply Routes::stop_job(const Call& call) {
  Query query(call.request.query, {});
  return job_response(service_.bulk().stop(call.args[0]), 200);
}

Reply Routes::job_export(const Call& call) {
  Query query(call.request.query, {});
  Response response;
  response.content_type = "application/x-ndjson";
  response.file = std::make_shared<BodyFile>(service_.bulk().export_file(call.args[0]));
  return response;
}

}  // namespace opscore
