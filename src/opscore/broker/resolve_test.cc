#include "opscore/broker/resolve.h"

#include <gmock/gmock.h>

#if defined(__has_feature)
#define OPSCORE_HAS_TSAN __has_feature(thread_sanitizer)
#else
#define OPSCORE_HAS_TSAN 0
#endif

namespace opscore {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Deadline soon() {
  return Deadline::after(std::chrono::seconds(10));
}

TEST(Resolve, AddressesAreWhatTheyAre) {
  EXPECT_THAT(resolve("127.0.0.1", soon()).value(), ElementsAre("127.0.0.1"));
  EXPECT_THAT(resolve("::1", soon()).value(), ElementsAre("::1"));
}

TEST(Resolve, NamesAreLookedUp) {
#if defined(__SANITIZE_THREAD__) || OPSCORE_HAS_TSAN
  GTEST_SKIP() << "the C library looks up in a thread that ThreadSanitizer does not know";
#endif
  EXPECT_THAT(resolve("localhost", soon()).value(), testing::Contains("127.0.0.1"));
  auto unknown = resolve("nowhere.invalid", soon());
  ASSERT_FALSE(unknown);
  EXPECT_THAT(unknown.error().what(), HasSubstr("cannot find the host 'nowhere.invalid'"));
}

}  // namespace
}  // namespace opscore
