// Bodies of submits, single and batches in every form. Whatever the bytes, the readers either throw
// an Error of the three kinds that a client may see or return requests whose payloads are JSON.

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "opscore/api/submit_body.h"
#include "opscore/base/json.h"

namespace {

using namespace opscore;

constexpr size_t kMost = 100;

void expect(bool condition) {
  if (!condition) std::abort();
}

void check(const SubmitRequest& request) {
  expect(!request.type.empty());
  expect(check_json(request.input).has_value());
  expect(request.metadata.empty() || check_json(request.metadata).has_value());
}

void check(const Error& error) {
  expect(error.code() == Errc::malformed || error.code() == Errc::invalid ||
         error.code() == Errc::too_large);
}

template <class F>
void attempt(F&& read) {
  try {
    read();
  } catch (const Error& error) {
    check(error);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view body(reinterpret_cast<const char*>(data), size);
  attempt([&] { check(read_submit(body)); });
  attempt([&] {
    if (auto input = read_retry(body)) expect(check_json(*input).has_value());
  });
  for (bool ndjson : {false, true}) {
    attempt([&] {
      auto requests = read_batch(body, ndjson, kMost);
      expect(requests.size() <= kMost);
      for (const auto& request : requests) check(request);
    });
    attempt([&] {
      for (const auto& item : read_batch_per_item(body, ndjson, kMost))
        item ? check(*item) : check(item.error());
    });
  }
  return 0;
}
