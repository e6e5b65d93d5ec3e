#pragma once
// What a process that cannot go on leaves behind: why, wherever somebody may look for it.

#include <string>

#include "opscore/app/config.h"

namespace opscore {

// Writes to stderr, and to the log file when there is one. Never waits for a reader: a pipe that is
// full costs the words. From one thread, without a Log.
void say_everywhere(const std::string& log_file, const std::string& text);

// Keeps `words` in the store, as the last ones of a session that this process opens for it, so that
// `opscore workers list --ended-within 1h` shows them; false: the store cannot be used. The caller
// holds the data lock of a SQLite file.
bool keep_last_words(const Config& config, const std::string& words);

}  // namespace opscore
