#include "opscore/store/sqlite/sqlite_store.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "opscore/store/conformance/store_conformance.h"
#include "opscore/store/sqlite/database.h"
#include "opscore/store/sqlite/test_folder.h"

namespace opscore {
namespace {

// The folder of the store that was opened last; it goes with the next one, or at the end.
struct Opened {
  std::optional<sqlite::TestFolder> folder;
  std::unique_ptr<Log> log = silent_log();

  std::unique_ptr<Store> open(const Clock& clock, Random& random, bool announce) const {
    SqliteOptions options;
    options.path = folder->path("opscore.db");
    options.announce = announce;
    return open_sqlite_store(clock, random, *log, options);
  }
};

StoreFactory sqlite_factory() {
  auto opened = std::make_shared<Opened>();
  auto open_new = [opened](bool announce) {
    return [opened, announce](const Clock& clock, Random& random) {
      opened->folder.emplace();
      return opened->open(clock, random, announce);
    };
  };
  auto reopen = [opened](const Clock& clock, Random& random) {
    return opened->open(clock, random, false);
  };
  auto refuse = [opened](const std::string& input) {
    sqlite::Connection db(opened->folder->path("opscore.db"), sqlite::OpenMode::create);
    auto sql = fmt::format(
        "CREATE TRIGGER refuse BEFORE INSERT ON tasks WHEN NEW.input = '{}' "
        "BEGIN SELECT RAISE(ABORT, 'not this one'); END",
        input);
    db.execute(sql.c_str());
  };
  return {"sqlite", open_new(false), open_new(true), reopen, refuse};
}

}  // namespace
}  // namespace opscore

INSTANTIATE_STORE_CONFORMANCE(Sqlite, sqlite_factory());
