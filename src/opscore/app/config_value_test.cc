#include "opscore/app/config_value.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "opscore/app/config_fields.h"

namespace opscore {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string dotenv(const std::string& text) {
  std::vector<std::string> problems;
  std::string out;
  for (const auto& entry : parse_dotenv(text, ".env", problems))
    out += fmt::format("{}:{}={}{};", entry.line, entry.name, entry.value,
                       entry.has_reference ? " (reference)" : "");
  for (const auto& problem : problems) out += fmt::format("! {};", problem);
  return out;
}

TEST(Dotenv, Values) {
  struct Case {
    const char *text, *expected;
  };
  const Case cases[] = {
      {"A=1", "1:A=1;"},
      {"", ""},
      {"\n\n  A = b c \n", "3:A=b c;"},
      {"export A=1\r\nB=2\r\n", "1:A=1;2:B=2;"},
      {"export=1", "1:export=1;"},
      {"# A=1\nB=2 # why\nC=a#b\nD=#c", "2:B=2;3:C=a#b;4:D=;"},
      {"A='x # y' # z", "1:A=x # y;"},
      {"A=\"a\\n\\\"b\\\" \\$c \\q\"", "1:A=a\n\"b\" $c \\q;"},
      {"A='a\\n'", "1:A=a\\n;"},
      {"A='two\nlines'\nB=1", "1:A=two\nlines;3:B=1;"},
      {"A=\"one \\\nline\"\nB=1", "1:A=one line;3:B=1;"},
      {"A=", "1:A=;"},
      {"A=''", "1:A=;"},
      {"A=1\nA=2", "1:A=1;2:A=2;"},
      {"\xEF\xBB\xBF"
       "A=1",
       "1:A=1;"},
      {"A=it's", "1:A=it's;"},
      {"A=${B}\nC=\"x${B}\"\nD='${B}'\nE=$B",
       "1:A=${B} (reference);2:C=x${B} (reference);"
       "3:D=${B};4:E=$B;"},
  };
  for (const auto& [text, expected] : cases) EXPECT_EQ(dotenv(text), expected) << text;
}

TEST(Dotenv, Problems) {
  EXPECT_EQ(dotenv("A=1\nnonsense\nB=2"), "1:A=1;3:B=2;! .env:2: expected NAME=value;");
  EXPECT_EQ(dotenv("A: 1"), "! .env:1: expected NAME=value;");
  EXPECT_EQ(dotenv("A=\"x\nB=2"), "! .env:1: A: the quote \" is never closed;");
  EXPECT_EQ(dotenv("A='x' y\nB=2"), "2:B=2;! .env:1: A: unexpected text after the closing quote;");
}

TEST(DatabaseUrl, Sqlite) {
  for (const char* text : {"sqlite:///a/b.db", "sqlite+aiosqlite:///a/b.db"})
    EXPECT_EQ(parse_database_url(text)->path, "a/b.db");
  EXPECT_EQ(parse_database_url("sqlite:////a/b.db")->path, "/a/b.db");
  EXPECT_THAT(parse_database_url("sqlite:///a.db?timeout=3")->notes, ElementsAre(HasSubstr("?")));
  for (const char* text : {"sqlite://", "sqlite:", "sqlite:///:memory:", "sqlite://host/a.db"})
    EXPECT_FALSE(parse_database_url(text)) << text;
}

TEST(DatabaseUrl, Postgresql) {
  struct Case {
    const char *text, *url;
    size_t notes;
  };
  const Case cases[] = {
      {"postgresql://u:p@h:5432/d", "postgresql://u:p@h:5432/d", 0},
      {"postgres://h/d", "postgresql://h/d", 0},
      {"postgresql+asyncpg://h/d", "postgresql://h/d", 1},
      {"postgresql+psycopg2://h/d?sslmode=require", "postgresql://h/d?sslmode=require", 1},
      {"postgresql+psycopg://h/d", "postgresql://h/d", 1},
      {"postgresql+asyncpg://h/d?ssl=require&prepared_statement_cache_size=0",
       "postgresql://h/d?sslmode=require", 3},
      {"postgresql://h/d?connect_timeout=3&x=1&application_name=y",
       "postgresql://h/d?connect_timeout=3&application_name=y", 1},
  };
  for (const auto& [text, expected, notes] : cases) {
    auto url = parse_database_url(text);
    ASSERT_TRUE(url) << text;
    EXPECT_EQ(url->kind, DatabaseUrl::Kind::postgresql);
    EXPECT_EQ(url->url, expected);
    EXPECT_EQ(url->notes.size(), notes) << text;
  }
}

TEST(DatabaseUrl, RefusesOthersWithoutShowingThem) {
  for (const char* text : {"mysql://u:hunter2@h/d", "hunter2", "postgresql", "://hunter2"}) {
    auto url = parse_database_url(text);
    ASSERT_FALSE(url) << text;
    EXPECT_THAT(url.error().message(), testing::Not(HasSubstr("hunter2")));
  }
}

TEST(MaskUrl, HidesThePasswordOnly) {
  EXPECT_EQ(mask_url("postgresql://u:p@h/d"), "postgresql://u:***@h/d");
  EXPECT_EQ(mask_url("postgresql://u:p/?@x@h/d"), "postgresql://u:***@h/d");
  EXPECT_EQ(mask_url("postgresql://u@h:1/d"), "postgresql://u@h:1/d");
  EXPECT_EQ(mask_url("postgresql://h/d?password=p&sslmode=x"),
            "postgresql://h/d?password=***&sslmode=x");
  EXPECT_EQ(mask_url("nothing"), "nothing");
}

TEST(Sizes, InAllUnits) {
  EXPECT_EQ(parse_bytes("12")->value, 12);
  EXPECT_EQ(parse_bytes("12B")->value, 12);
  EXPECT_EQ(parse_bytes("2KiB")->value, 2048);
  EXPECT_EQ(parse_bytes("2kB")->value, 2000);
  EXPECT_EQ(parse_bytes("3GiB")->value, int64_t{3} << 30);
  for (const char* text : {"", "MiB", "-1", "1.5MiB", "1 MiB", "1TiB", "99999999999GiB"})
    EXPECT_FALSE(parse_bytes(text)) << text;
  for (int64_t bytes : {int64_t{0}, int64_t{1}, int64_t{1024}, int64_t{1} << 20, int64_t{5} << 30})
    EXPECT_EQ(parse_bytes(to_text(Bytes{bytes}))->value, bytes);
}

TEST(Toml, KeepsOrderAndLines) {
  std::vector<std::string> problems;
  auto table = parse_toml("b = 1\na = [1, 'x']\n[t]\nc.d = 1.5\n", "f", problems);
  EXPECT_THAT(problems, IsEmpty());
  ASSERT_EQ(table.members.size(), 3);
  EXPECT_EQ(table.members[0].name, "b");
  EXPECT_EQ(table.members[1].value.items[1].text, "x");
  EXPECT_EQ(table.members[1].value.items[1].kind, ConfigValue::Kind::text);
  const auto& nested = table.members[2].value.members[0];
  EXPECT_EQ(nested.name, "c");
  EXPECT_EQ(nested.value.members[0].value.text, "1.5");
  EXPECT_EQ(nested.value.members[0].value.origin.line, 4);
}

}  // namespace
}  // namespace opscore
