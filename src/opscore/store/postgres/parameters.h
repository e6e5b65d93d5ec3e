#pragma once
// Values on their way to PostgreSQL, in its binary format. A statement casts each parameter
// ($1::bigint, $2::text[], ...), so that numbers are always bigint here and no type is looked up.
// Bytes that the server does not take as text, NUL among them, become U+FFFD: what one program has
// printed fails no statement that is shared with others.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "opscore/base/time.h"
#include "opscore/model/task.h"

namespace opscore::postgres {

// One column of many rows, for unnest() and = ANY(). Made for numbers, texts or bytes.
class Array {
 public:
  enum class Of : uint32_t { bytes = 17, number = 20, text = 25 };  // the type's number in pg_type
  explicit Array(Of of) : of_(of) {}
  static Array numbers() { return Array(Of::number); }
  static Array texts() { return Array(Of::text); }
  static Array bytes() { return Array(Of::bytes); }
  static Array keys(const std::vector<TaskKey>& keys);

  void add(int64_t value);
  void add(std::string_view value);
  void add(TimePoint at) { add(to_ms(at)); }
  void add(TaskKey key) { add(key.value); }
  void add_null();
  template <class T>
  void add(const std::optional<T>& value) {
    value ? add(*value) : add_null();
  }
  size_t size() const { return count_; }
  std::string encoded() const;

 private:
  Of of_;
  uint32_t count_ = 0;
  bool has_null_ = false;
  std::string elements_;
};

class Parameters {
 public:
  template <class... Values>
  static Parameters of(const Values&... values) {
    Parameters parameters;
    (parameters.add(values), ...);
    return parameters;
  }
  void add(int64_t value);
  void add(std::string_view text);
  void add(const std::string& text) { add(std::string_view(text)); }
  void add(const char* text) { add(std::string_view(text)); }
  void add(const Array& array) { values_.emplace_back(array.encoded()); }
  void add(TimePoint at) { add(to_ms(at)); }
  void add(TaskKey key) { add(key.value); }
  void add(SessionId session) { add(session.value); }
  template <class T>
  void add(const std::optional<T>& value) {
    if (value)
      add(*value);
    else
      values_.emplace_back(std::nullopt);
  }
  const std::vector<std::optional<std::string>>& values() const { return values_; }

 private:
  std::vector<std::optional<std::string>> values_;
};

inline std::optional<std::string_view> or_null(std::string_view text) {
  return text.empty() ? std::nullopt : std::optional(text);
}
inline std::optional<TimePoint> or_null(TimePoint at) {
  return at == TimePoint{} ? std::nullopt : std::optional(at);
}
inline std::optional<int64_t> or_null(SessionId session) {
  return session ? std::optional(session.value) : std::nullopt;
}

}  // namespace opscore::postgres
