#pragma once
// What is set about queues and actors, as rows, and as this process last read it.

#include <memory>
#include <string>

#include "opscore/base/mutex.h"
#include "opscore/model/settings.h"
#include "opscore/store/postgres/transaction.h"

namespace opscore::postgres {

struct KnownSettings {
  int64_t version = 0;  // goes up with every change
  Settings settings;

  bool limits_concurrency(const std::string& queue) const {
    return settings.of_queue(queue).limits.in_force(&QueueLimits::concurrency) != kUnlimited;
  }
};
const Statement& settings_statement();
KnownSettings decode_settings(const Rows& rows);

void save_settings(Transaction& transaction, const Settings& settings);

// Safe for concurrent use.
class SettingsCache {
 public:
  // Before anything else in the transaction. They may be old: whoever relies on them sends
  // expect_same(), or compares the version. A transaction that is done again reads them anew.
  std::shared_ptr<const KnownSettings> of(Transaction& transaction);
  // They are known to be old.
  void forget();

 private:
  Mutex mutex_;
  std::shared_ptr<const KnownSettings> known_ OPSCORE_GUARDED_BY(mutex_);
};

// Fails the transaction, which is then done again, when the settings have changed since.
void expect_same(Transaction& transaction, const KnownSettings& known);

}  // namespace opscore::postgres
