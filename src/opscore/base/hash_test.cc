#include "opscore/base/hash.h"

#include <gtest/gtest.h>

namespace opscore {
namespace {

// The row of eight input bytes in the authors' table: key 00..0f, input 00..07, little endian.
TEST(Hash, SipHashMatchesItsReference) {
  SipKey key{0x0706050403020100, 0x0f0e0d0c0b0a0908};
  EXPECT_EQ(siphash(key, 0x0706050403020100), 0x93f5f5799a932462);
  EXPECT_NE(siphash({key[0], key[1] + 1}, 0x0706050403020100), 0x93f5f5799a932462);
}

// FIPS 180-2, appendix B; RFC 4231, test case 2.
TEST(Hash, Sha256AndHmacMatchTheirReferences) {
  EXPECT_EQ(to_hex(sha256("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(to_hex(sha256("")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(to_hex(hmac_sha256("Jefe", "what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

// RFC 1321, A.5.
TEST(Hash, Md5MatchesItsReference) {
  EXPECT_EQ(to_hex(md5("message digest")), "f96b697d7cb7938d525a2f31aaf161d0");
}

TEST(Hash, ComparesWhole) {
  EXPECT_TRUE(equal_constant_time("", ""));
  EXPECT_TRUE(equal_constant_time("secret", "secret"));
  EXPECT_FALSE(equal_constant_time("secret", "secreT"));
  EXPECT_FALSE(equal_constant_time("secret", "secre"));
  EXPECT_FALSE(equal_constant_time("", "x"));
}

}  // namespace
}  // namespace opscore
