// Submits: one, many at once, and many single ones together.

#include <fmt/format.h>

#include "opscore/api/json_object.h"
#include "opscore/api/problem.h"
#include "opscore/api/query.h"
#include "opscore/api/routes.h"
#include "opscore/api/submit_body.h"
#include "opscore/api/views.h"

namespace opscore {
namespace {

// A parsed single submit; `until` when it waits for the end.
struct Wanted {
  SubmitRequest task;
  std::optional<SteadyPoint> until;
};

Wanted read_wanted(const ApiRequest& request) {
  Wanted wanted;
  if (!request.query.empty()) wanted.until = wait_until(Query(request.query, {"wait"}).one("wait"));
  wanted.task = read_submit(request.body);
  if (!request.idempotency_key) return wanted;
  const std::string& header = *request.idempotency_key;
  if (header.empty())
    throw Error(Errc::invalid, "idempotency_key: the header is empty; leave it out instead")
        .at("idempotency_key");
  std::string& field = wanted.task.idempotency_key;
  if (!field.empty() && field != header)
    throw Error(Errc::invalid,
                "idempotency_key: the field and the Idempotency-Key header differ; give one")
        .at("idempotency_key");
  if (!is_valid_utf8(header))
    throw Error(Errc::invalid, "idempotency_key: the header is not UTF-8").at("idempotency_key");
  field = header;
  return wanted;
}

void append_batch_item(std::string& out, const Submitted& answer) {
  JsonObject object(out);
  object.word("task_id", answer.id);
  object.word("status", to_string(answer.state));
  if (answer.replayed) object.boolean("replayed", true);
  if (!answer.warnings.empty()) {
    object.raw("warnings", {});
    append_array(out, answer.warnings, append_quoted);
  }
  object.close();
}

void append_refused(std::string& out, size_t index, const Error& error) {
  JsonObject object(out);
  object.number("index", static_cast<int64_t>(index));
  object.word("status", "refused");
  object.raw("error", {});
  append_problem(out, error);
  object.close();
}

}  // namespace

Reply Routes::submit(const Call& call) {
  return std::move(submit_all(std::span(&call.request, 1))[0]);
}

std::vector<Reply> Routes::submit_all(std::span<const ApiRequest> requests) {
  std::vector<Reply> replies(requests.size());
  std::vector<SubmitRequest> tasks;
  std::vector<size_t> places;  // of each task in `replies`
  std::vector<std::optional<SteadyPoint>> untils;
  tasks.reserve(requests.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    replies[i] = guarded([&]() -> Reply {
      Wanted wanted = read_wanted(requests[i]);
      tasks.push_back(std::move(wanted.task));
      untils.push_back(wanted.until);
      places.push_back(i);
      return Response{};
    });
  }
  std::vector<Submitted> answers;
  Reply failure = guarded([&]() -> Reply {
    if (!tasks.empty()) answers = service_.submit_many(std::move(tasks), InsertMode::per_item);
    return Response{};
  });
  for (size_t n = 0; n < places.size(); ++n) {
    size_t place = places[n];
    if (answers.empty())
      replies[place] = failure;
    else
      replies[place] =
          guarded([&] { return submitted(requests[place], std::move(answers[n]), untils[n]); });
  }
  return replies;
}

Reply Routes::submitted(const ApiRequest& request, Submitted submitted,
                        std::optional<SteadyPoint> until) {
  if (submitted.refused) throw *submitted.refused;
  if (until) return Wait{submitted.key, *until, std::move(submitted.warnings), accepted()};
  if (submitted.replayed) return task_response(service_.get(submitted.key), 200);
  Response response;
  response.status = accepted();
  response.body.reserve(256);
  append_submitted(response.body, submitted);
  response.headers.emplace_back("Location", "/api/v1/tasks/" + submitted.id);
  return response;
}

Reply Routes::submit_batch(const Call& call) {
  const ApiRequest& request = call.request;
  Query query(request.query, {"atomic"});
  if (request.idempotency_key)
    throw Error(
        Errc::invalid,
        "Idempotency-Key: a batch has no key of its own; give each task its idempotency_key")
        .at("Idempotency-Key");
  bool ndjson = is_ndjson_type(request.content_type);
  if (!query.flag("atomic", true)) return submit_per_item(request, ndjson);
  auto tasks = read_batch(request.body, ndjson, service_.options().batch_tasks_max);
  std::vector<Submitted> answers;
  if (tasks.size() == 1) {
    // The service names the field of a lone task without its place in a batch.
    auto one = service_.submit_many(std::move(tasks), InsertMode::per_item);
    if (one[0].refused) {
      const Error& error = *one[0].refused;
      throw Error(error.code(), std::string("tasks[0]: ") + error.what(), error.retryable())
          .at(error.field().empty() ? "tasks[0]" : "tasks[0]." + error.field());
    }
    answers = std::move(one);
  } else if (!tasks.empty()) {
    answers = service_.submit_many(std::move(tasks), InsertMode::all_or_nothing);
  }
  return batch_response(answers);
}

Response Routes::batch_response(const std::vector<Submitted>& answers) {
  Response response;
  bool anything_new = std::any_of(answers.begin(), answers.end(),
                                  [](const Submitted& answer) { return !answer.replayed; });
  response.status = anything_new ? accepted() : 200;
  response.body.reserve(80 * answers.size() + 32);
  response.body = "{\"tasks\":";
  append_array(response.body, answers, append_batch_item);
  response.body += '}';
  return response;
}

// Each item succeeds or fails alone; the answer has one entry per item, in order.
Reply Routes::submit_per_item(const ApiRequest& request, bool ndjson) {
  auto items = read_batch_per_item(request.body, ndjson, service_.options().batch_tasks_max);
  std::vector<SubmitRequest> tasks;
  for (auto& item : items)
    if (item) tasks.push_back(std::move(*item));
  std::vector<Submitted> answers;
  if (!tasks.empty()) answers = service_.submit_many(std::move(tasks), InsertMode::per_item);
  Response response;
  std::string& out = response.body;
  out = "{\"tasks\":[";
  size_t next = 0, refused = 0;
  bool anything_new = false;
  for (size_t i = 0; i < items.size(); ++i) {
    if (i != 0) out += ',';
    const Error* error = items[i] ? nullptr : &items[i].error();
    const Submitted* answer = items[i] ? &answers[next++] : nullptr;
    if (answer && answer->refused) error = &*answer->refused;
    if (error) {
      ++refused;
      append_refused(out, i, *error);
    } else {
      anything_new |= !answer->replayed;
      append_batch_item(out, *answer);
    }
  }
  out += fmt::format("],\"accepted\":{},\"refused\":{}}}", items.size() - refused, refused);
  response.status = anything_new ? accepted() : 200;
  return response;
}

}  // namespace opscore
