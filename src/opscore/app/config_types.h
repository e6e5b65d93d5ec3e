#pragma once
// Types of settings that are more than a text or a number.

#include <cstdint>
#include <string>

#include "opscore/base/time.h"

namespace opscore {

struct QueueWeight {
  std::string queue;
  int weight = 1;
  bool operator==(const QueueWeight&) const = default;
};

// What an exit code of a program means for its task.
struct ExitCode {
  enum class Meaning : uint8_t { retry, fatal, snooze } meaning = Meaning::retry;
  Duration delay{0};  // when snooze
  bool operator==(const ExitCode&) const = default;
};

// A JSON Schema, inline or from a file.
struct SchemaText {
  std::string json;  // the schema; filled from `file` by the check
  std::string file;
  bool operator==(const SchemaText&) const = default;
};

// A size such as 64MiB.
struct Bytes {
  int64_t value = 0;
  bool operator==(const Bytes&) const = default;
};

}  // namespace opscore
