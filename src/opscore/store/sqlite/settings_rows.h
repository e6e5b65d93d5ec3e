#pragma once
// Settings as rows: the tables queues, queue_limits and actor_limits. Few, and read only when the
// file is opened or looked at from outside, so they are written as a whole.

#include "opscore/model/settings.h"
#include "opscore/store/sqlite/database.h"

namespace opscore::sqlite {

Settings load_settings(Connection& db);
void save_settings(Connection& db, const Settings& settings);

}  // namespace opscore::sqlite
