#include "opscore/net/sse_reader.h"

#include <gtest/gtest.h>

#include "opscore/base/random.h"

namespace opscore {
namespace {

using Events = std::vector<SseEvent>;

Events read_all(std::string_view stream, size_t piece = std::string_view::npos) {
  SseReader reader;
  Events out;
  while (!stream.empty()) {
    const auto events = reader.feed(stream.substr(0, piece));
    EXPECT_TRUE(events.has_value());
    out.insert(out.end(), events->begin(), events->end());
    stream.remove_prefix(std::min(piece, stream.size()));
  }
  const auto rest = reader.finish();
  EXPECT_TRUE(rest.has_value());
  out.insert(out.end(), rest->begin(), rest->end());
  return out;
}

std::vector<std::string> data_of(const Events& events) {
  std::vector<std::string> out;
  for (const SseEvent& event : events) out.push_back(event.data);
  return out;
}

using Strings = std::vector<std::string>;

TEST(SseReader, EveryKindOfLineEnd) {
  EXPECT_EQ(data_of(read_all("data: a\n\ndata: b\n\n")), (Strings{"a", "b"}));
  EXPECT_EQ(data_of(read_all("data: a\r\n\r\ndata: b\r\n\r\n")), (Strings{"a", "b"}));
  EXPECT_EQ(data_of(read_all("data: a\r\rdata: b\r\r")), (Strings{"a", "b"}));
  EXPECT_EQ(data_of(read_all("data: a\r\n\ndata: b\n\r\n")), (Strings{"a", "b"}));
}

TEST(SseReader, OneOptionalSpaceAfterTheColon) {
  EXPECT_EQ(data_of(read_all("data:a\n\ndata:  b\n\ndata: \n\n")), (Strings{"a", " b", ""}));
}

TEST(SseReader, DataLinesAreJoined) {
  EXPECT_EQ(data_of(read_all("data: a\ndata\ndata: c\n\n")), (Strings{"a\n\nc"}));
}

TEST(SseReader, CommentsUnknownFieldsAndEmptyEventsAreIgnored) {
  EXPECT_EQ(data_of(read_all(": OPENROUTER PROCESSING\n\n\n:\nfoo: bar\ndata: a\n: x\n\n")),
            (Strings{"a"}));
}

TEST(SseReader, TypeAndId) {
  const Events events = read_all("event: delta\nid: 7\ndata: a\n\ndata: b\n\nid\ndata: c\n\n");
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[0], (SseEvent{"delta", "a", "7"}));
  EXPECT_EQ(events[1], (SseEvent{"message", "b", "7"}));
  EXPECT_EQ(events[2], (SseEvent{"message", "c", ""}));
}

TEST(SseReader, AnIdWithNulIsIgnored) {
  EXPECT_EQ(read_all(std::string_view("id: a\0b\ndata: x\n\n", 17))[0].id, "");
}

TEST(SseReader, RetryIsDigitsOnly) {
  SseReader reader;
  ASSERT_TRUE(reader.feed("retry: 3x\n\n"));
  EXPECT_EQ(reader.retry_ms(), std::nullopt);
  ASSERT_TRUE(reader.feed("retry: 3000\n\n"));
  EXPECT_EQ(reader.retry_ms(), 3000);
}

TEST(SseReader, AByteOrderMarkAtTheStartOnly) {
  EXPECT_EQ(data_of(read_all("\xEF\xBB\xBF"
                             "data: a\n\n\xEF\xBB\xBF"
                             "data: b\n\n")),
            (Strings{"a"}));
  EXPECT_EQ(data_of(read_all("\xEF\xBB\xBF"
                             "data: a\n\n",
                             1)),
            (Strings{"a"}));
}

TEST(SseReader, TheEndWithoutAnEmptyLine) {
  EXPECT_EQ(data_of(read_all("data: a\n\ndata: b\n")), (Strings{"a", "b"}));
  EXPECT_EQ(data_of(read_all("data: a\n\ndata: b")), (Strings{"a", "b"}));
  EXPECT_EQ(data_of(read_all("data: a\n\nevent: b")), (Strings{"a"}));
}

TEST(SseReader, TheSameEventsHoweverTheBytesAreCut) {
  const std::string stream =
      "\xEF\xBB\xBF: hi\r\nevent: x\r\ndata: gr\xC3\xBC\xC3\x9F\x65 \xF0\x9F\x9A\x80\r\ndata: "
      "2\r\n\r\n"
      "data: a\r\rid: 4\ndata: b\n\ndata: [DONE]\r\n\r\n";
  const Events whole = read_all(stream);
  ASSERT_EQ(whole.size(), 4u);
  EXPECT_EQ(whole[0].data, "gr\xC3\xBC\xC3\x9F\x65 \xF0\x9F\x9A\x80\n2");
  for (size_t piece = 1; piece < stream.size(); ++piece)
    EXPECT_EQ(read_all(stream, piece), whole) << "pieces of " << piece;
}

TEST(SseReader, RandomBytesCutAnywhereGiveTheSameEvents) {
  SeededRandom random(20261120);
  constexpr std::string_view kAlphabet = "data: idevent\r\n\r\n:\n\xC3\xBC";
  for (int round = 0; round < 300; ++round) {
    std::string stream;
    for (uint64_t i = random.below(120); i > 0; --i)
      stream += random.below(3) == 0 ? std::string("data: ")
                                     : std::string(1, kAlphabet[random.below(kAlphabet.size())]);
    ASSERT_EQ(read_all(stream, 1 + random.below(7)), read_all(stream)) << "round " << round;
  }
}

TEST(SseReader, ALineThatIsTooLongIsRefused) {
  SseReader reader({.line_bytes_max = 10, .event_bytes_max = 100});
  const auto events = reader.feed("data: 123456789");
  ASSERT_FALSE(events.has_value());
  EXPECT_EQ(events.error().code(), Errc::too_large);
}

TEST(SseReader, AnEventThatIsTooLargeIsRefused) {
  SseReader reader({.line_bytes_max = 20, .event_bytes_max = 8});
  ASSERT_TRUE(reader.feed("data: 1234\n"));
  const auto events = reader.feed("data: 5678\n\n");
  ASSERT_FALSE(events.has_value());
  EXPECT_EQ(events.error().code(), Errc::too_large);
}

}  // namespace
}  // namespace opscore
