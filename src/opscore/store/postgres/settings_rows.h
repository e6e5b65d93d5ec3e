#pragma once
// What is set about queues and actors, as rows.

#include <set>
#include <string>

#include "opscore/model/settings.h"
#include "opscore/store/postgres/transaction.h"

namespace opscore::postgres {

// Where each of its statements was queued.
struct SettingsQuery {
  size_t paused, limits, actors;
};
// For a Transaction or a Connection: anything that sends statements and gives rows.
template <class Sender>
SettingsQuery send_settings(Sender& sender);
template <class Sender>
Settings read_settings(Sender& sender, const SettingsQuery& query);

void save_settings(Transaction& transaction, const Settings& settings);

}  // namespace opscore::postgres
