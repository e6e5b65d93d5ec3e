// For Python's Dramatiq: messages of producers, and what workers say of the tasks that they run.

#include "opscore/api/json_object.h"
#include "opscore/api/query.h"
#include "opscore/api/report_body.h"
#include "opscore/api/routes.h"

namespace opscore {

// The body is read as Python would read it, which is more than strict JSON, and kept as it is.
Reply Routes::take_message(const Call& call) {
  Query query(call.request.query, {});
  return submitted(call.request, service_.take_message(call.request.body), std::nullopt);
}

Reply Routes::hear_reports(const Call& call) {
  Query query(call.request.query, {});
  auto answers = service_.mirror().hear(read_reports(call.request.body, service_.clock().now()));
  Response response;
  JsonObject object(response.body);
  object.raw("results", {});
  append_array(response.body, answers, [](std::string& out, ReportAnswer answer) {
    append_quoted(out, to_string(answer));
  });
  object.close();
  return response;
}

}  // namespace opscore
