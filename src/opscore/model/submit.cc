#include "opscore/model/submit.h"

#include "opscore/base/hash.h"
#include "opscore/model/names.h"

namespace opscore {

std::string derived_task_id(std::string_view message_id) {
  std::string id = "message:" + std::string(message_id);
  if (!task_id_problem(id)) return id;
  return "message:" + to_hex(sha256(message_id)).substr(0, 32);
}

}  // namespace opscore
