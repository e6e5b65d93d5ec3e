#include "opscore/app/masking.h"

#include <gmock/gmock.h>

namespace opscore {
namespace {

using testing::ElementsAre;

TEST(Masking, NamesOfSecretsAreKnownByTheirWords) {
  for (const char* name : {"DB_PASSWORD", "api-key", "OPENAI_API_KEY", "token", "ClientSecret",
                           "Authorization", "SENTRY_DSN", "session_cookie", "PGPASS", "db.pass",
                           "AWS_SECRET_ACCESS_KEY", "private_key"})
    EXPECT_TRUE(is_secret_name(name)) << name;
  for (const char* name : {"PATH", "monkey", "queues", "slots", "LANG", "keyboard", "compass"})
    EXPECT_FALSE(is_secret_name(name)) << name;
}

TEST(Masking, UrlsLoseTheirCredentials) {
  EXPECT_EQ(mask_text("at amqp://guest:s3/c?r#e@t@rabbit:5672/v and https://x.org/a@b"),
            "at amqp://***@rabbit:5672/v and https://***@b");
  EXPECT_EQ(mask_text("see https://x.org/path"), "see https://x.org/path");
}

TEST(Masking, NamedValuesAreMasked) {
  EXPECT_EQ(mask_text("login with password=hunter2, user=bob"),
            "login with password=***, user=bob");
  EXPECT_EQ(mask_text(R"({"api_key": "sk-123", "n": 1})"), R"({"api_key": "***", "n": 1})");
  EXPECT_EQ(mask_text("Authorization: Bearer abc def"), "Authorization: ***");
  EXPECT_EQ(mask_text("12:30:01 the task: failed"), "12:30:01 the task: failed");
  EXPECT_EQ(mask_text("token="), "token=");
  EXPECT_EQ(mask_text("token='a b' c"), "token='***' c");
}

TEST(Masking, KnownSecretsAreMaskedWhereverTheyStand) {
  EXPECT_EQ(mask_text("xhunter22x said hunter22", {"hunter22"}), "x***x said ***");
  EXPECT_EQ(mask_text("cat concatenates cat", {"cat", ""}), "*** concatenates ***");
}

TEST(Masking, ArgumentsOfOpscoreKeepWhatIsHarmless) {
  EXPECT_THAT(masked_arguments({"opscore", "worker", "--slots", "16", "--token", "abc",
                                "--api-key=abc", "--url", "http://u:p@h/x", "DB_PASS=abc"}),
              ElementsAre("opscore", "worker", "--slots", "16", "--token", "***", "--api-key=***",
                          "--url", "http://***@h/x", "DB_PASS=***"));
}

TEST(Masking, OfOtherProgramsOnlyWhatCannotBeASecretIsKept) {
  EXPECT_THAT(masked_command({"/usr/bin/env", "A=b", "python3", "-m", "pytest", "/proc/self/exe",
                              "-k", "hunter2", "--password=abc", "-pabc", "AKIA/xyz"}),
              ElementsAre("/usr/bin/env", "A=***", "***", "-m", "pytest", "/proc/self/exe", "-k",
                          "***", "--password=***", "-p", "***"));
}

TEST(Masking, OfTheEnvironmentOnlyKnownValuesAreShown) {
  auto masked = masked_environment({{"PATH", "/bin"},
                                    {"LC_ALL", "C"},
                                    {"SOMETHING", "abc"},
                                    {"EMPTY", ""},
                                    {"HTTPS_PROXY", "http://u:p@proxy:3128"}});
  EXPECT_EQ(masked["PATH"], "/bin");
  EXPECT_EQ(masked["LC_ALL"], "C");
  EXPECT_EQ(masked["SOMETHING"], "***");
  EXPECT_EQ(masked["EMPTY"], "");
  EXPECT_EQ(masked["HTTPS_PROXY"], "http://***@proxy:3128");
}

}  // namespace
}  // namespace opscore
