#include "opscore/store/postgres/parameters.h"

#include "opscore/base/json.h"

namespace opscore::postgres {
namespace {

void append_big_endian(std::string& out, uint64_t value, int bytes) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8)
    out += static_cast<char>(value >> shift & 0xff);
}

bool is_text(std::string_view bytes) {
  return bytes.find('\0') == bytes.npos && is_valid_utf8(bytes);
}

std::string to_text(std::string_view bytes) {
  std::string text;
  for (char c : bytes) text += c == '\0' ? "\xff" : std::string(1, c);
  return to_valid_utf8(text);
}

}  // namespace

Array Array::keys(const std::vector<TaskKey>& keys) {
  Array array = numbers();
  for (TaskKey key : keys) array.add(key);
  return array;
}

void Array::add(int64_t value) {
  ++count_;
  append_big_endian(elements_, 8, 4);
  append_big_endian(elements_, static_cast<uint64_t>(value), 8);
}

void Array::add(std::string_view value) {
  if (of_ == Of::text && !is_text(value)) return add(to_text(value));
  ++count_;
  append_big_endian(elements_, value.size(), 4);
  elements_ += value;
}

void Array::add_null() {
  ++count_;
  has_null_ = true;
  append_big_endian(elements_, 0xffffffff, 4);
}

// dimensions, has nulls, type of the elements, then for the one dimension its size and lower bound.
std::string Array::encoded() const {
  std::string out;
  out.reserve(20 + elements_.size());
  append_big_endian(out, count_ == 0 ? 0 : 1, 4);
  append_big_endian(out, has_null_, 4);
  append_big_endian(out, static_cast<uint32_t>(of_), 4);
  if (count_ == 0) return out;
  append_big_endian(out, count_, 4);
  append_big_endian(out, 1, 4);
  return out + elements_;
}

void Parameters::add(std::string_view text) {
  values_.emplace_back(is_text(text) ? std::string(text) : to_text(text));
}

void Parameters::add(int64_t value) {
  std::string bytes;
  append_big_endian(bytes, static_cast<uint64_t>(value), 8);
  values_.emplace_back(std::move(bytes));
}

}  // namespace opscore::postgres
