// A task that the database does not take, beside others that it does.

#include <gmock/gmock.h>

#include <atomic>
#include <thread>

#include "opscore/store/conformance/store_conformance.h"

namespace opscore {
namespace {

using Kind = InsertResult::Kind;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr char kRefused[] = R"("refused")";

std::vector<Kind> kinds_of(const std::vector<InsertResult>& results) {
  std::vector<Kind> kinds;
  for (const InsertResult& result : results) kinds.push_back(result.kind);
  return kinds;
}

}  // namespace

void StoreRefusal::SetUp() {
  if (!GetParam().refuse) GTEST_SKIP() << GetParam().name << " refuses nothing";
  GetParam().refuse(kRefused);
}

std::vector<InsertItem> StoreRefusal::items(size_t count, size_t refused) {
  std::vector<InsertItem> items(count);
  for (InsertItem& item : items) item.spec = spec();
  items.at(refused).spec.input = kRefused;
  return items;
}

TEST_P(StoreRefusal, OneOfManyItemsFailsAlone) {
  auto five = items(5, 2);
  for (size_t i : {1, 3}) five[i] = item_with_id(spec(), "twice");
  auto results = store_->tasks().insert(five, InsertMode::per_item);
  EXPECT_THAT(kinds_of(results), ElementsAre(Kind::inserted, Kind::inserted, Kind::failed,
                                             Kind::replayed, Kind::inserted));
  EXPECT_EQ(results[3].key, results[1].key);
  ASSERT_TRUE(results[2].error);
  EXPECT_TRUE(results[2].refused());
  EXPECT_THAT(results[2].error->message(), HasSubstr("not this one"));
  EXPECT_EQ(queue("q").pending, 3);
  EXPECT_EQ(claim().size(), 3u);
}

TEST_P(StoreRefusal, AllOrNothingIsNothing) {
  EXPECT_THROW(store_->tasks().insert(items(5, 4), InsertMode::all_or_nothing), Error);
  EXPECT_EQ(queue("q").pending, 0);
  EXPECT_TRUE(claim().empty());
}

TEST_P(StoreRefusal, CallersThatShareATransactionWithItAreNotHurt) {
  constexpr size_t kThreads = 8, kEach = 20;
  std::atomic<size_t> inserted{0}, refused{0};
  {
    std::vector<std::jthread> threads;
    for (size_t thread = 0; thread < kThreads; ++thread)
      threads.emplace_back([&, thread] {
        for (size_t i = 0; i < kEach; ++i) {
          auto one = items(1, 0);
          if (thread != 0) one[0].spec.input = "1";
          try {
            inserted += !store_->tasks().insert(one, InsertMode::per_item).at(0).refused();
          } catch (const Error&) {
            ++refused;
          }
        }
      });
  }
  EXPECT_EQ(refused, kEach);
  EXPECT_EQ(inserted, (kThreads - 1) * kEach);
  EXPECT_EQ(queue("q").pending, static_cast<int64_t>(inserted));
}

}  // namespace opscore
