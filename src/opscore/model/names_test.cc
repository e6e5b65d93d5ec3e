#include "opscore/model/names.h"

#include <gtest/gtest.h>

namespace opscore {
namespace {

TEST(Names, OfTypesQueuesAndLabels) {
  for (const std::string& name :
       std::vector<std::string>{"a", "_", "Z9", "mail.send", "a-b_c.d", std::string(128, 'x')}) {
    EXPECT_FALSE(name_problem(name)) << name;
    EXPECT_FALSE(queue_name_problem(name)) << name;
  }
  for (std::string name : {"", "9a", ".a", "-a", "a b", "a/b", "a:b", "é", "a\n", "a%", "a@b"}) {
    EXPECT_TRUE(name_problem(name)) << name;
    EXPECT_TRUE(queue_name_problem(name)) << name;
  }
  EXPECT_TRUE(name_problem(std::string(129, 'x')));
  EXPECT_TRUE(name_problem(std::string_view("a\0b", 3)));
}

TEST(Names, QueuesLeaveDramatiqItsSuffixes) {
  EXPECT_TRUE(queue_name_problem("mail.DQ"));
  EXPECT_TRUE(queue_name_problem("mail.XQ"));
  EXPECT_FALSE(queue_name_problem("mail.DQs"));
  EXPECT_FALSE(queue_name_problem("mail.dq"));
  EXPECT_FALSE(queue_name_problem("DQ"));
  EXPECT_FALSE(name_problem("mail.DQ"));
}

TEST(Names, OfTasks) {
  for (const std::string& id : std::vector<std::string>{"a", "0", "order:42", "a.b_c-d", "task_x",
                                                        "batches", "Batch", std::string(128, '1')})
    EXPECT_FALSE(task_id_problem(id)) << id;
  for (std::string id : {"", "batch", "_a", ":a", "-a", ".a", "a b", "a/b", "é", "a\n", "a?"})
    EXPECT_TRUE(task_id_problem(id)) << id;
  EXPECT_TRUE(task_id_problem(std::string(129, '1')));
}

TEST(Names, OfHeaders) {
  EXPECT_FALSE(header_problem("Authorization", "Bearer x y\tz"));
  EXPECT_FALSE(header_problem("x.y!", ""));
  for (std::string name : {"", "a b", "a:", "é", "a\n", "Host", "content-LENGTH", "Content-Type",
                           "X-Opscore-Signature", "Transfer-Encoding"})
    EXPECT_TRUE(header_problem(name, "value")) << name;
  for (std::string value : {"a\r\nb", "a\nb", "\x7f", "\x01"})
    EXPECT_TRUE(header_problem("name", value)) << value;
  EXPECT_TRUE(header_problem("name", std::string_view("a\0b", 3)));
}

TEST(Names, NearestComeFirstAndStrangersNotAtAll) {
  const std::vector<std::string> known{"mail.send", "mail.sand", "mail.receive",
                                       "shell.word_count"};
  EXPECT_EQ(nearest_names("mail.sen", known, 1), std::vector<std::string>{"mail.send"});
  EXPECT_EQ(nearest_names("mail.sent", known, 2),
            (std::vector<std::string>{"mail.send", "mail.sand"}));
  EXPECT_EQ(nearest_names("word_count", known).front(), "shell.word_count");
  EXPECT_TRUE(nearest_names("zzzzzzzzzzzzzzzzzzzzzzzz", known).empty());
  EXPECT_TRUE(nearest_names("x", {}).empty());
}

}  // namespace
}  // namespace opscore
