#include "opscore/store/postgres/parameters.h"

namespace opscore::postgres {
namespace {

void append_big_endian(std::string& out, uint64_t value, int bytes) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8)
    out += static_cast<char>(value >> shift & 0xff);
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

void Parameters::add(int64_t value) {
  std::string bytes;
  append_big_endian(bytes, static_cast<uint64_t>(value), 8);
  values_.emplace_back(std::move(bytes));
}

}  // namespace opscore::postgres
