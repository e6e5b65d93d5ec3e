#include "opscore/base/hash.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <bit>

#include "opscore/base/error.h"

namespace opscore {

std::string sha256(std::string_view bytes) {
  std::string out(32, '\0');
  unsigned size = 0;
  int ok = EVP_Digest(bytes.data(), bytes.size(), reinterpret_cast<unsigned char*>(out.data()),
                      &size, EVP_sha256(), nullptr);
  OPSCORE_ASSERT(ok == 1 && size == 32, "SHA-256 failed");
  return out;
}

std::string hmac_sha256(std::string_view key, std::string_view bytes) {
  std::string out(32, '\0');
  unsigned size = 0;
  auto* done = HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
                    reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(),
                    reinterpret_cast<unsigned char*>(out.data()), &size);
  OPSCORE_ASSERT(done != nullptr && size == 32, "HMAC-SHA-256 failed");
  return out;
}

std::string md5(std::string_view bytes) {
  std::string out(16, '\0');
  unsigned size = 0;
  int ok = EVP_Digest(bytes.data(), bytes.size(), reinterpret_cast<unsigned char*>(out.data()),
                      &size, EVP_md5(), nullptr);
  if (ok != 1) throw Error(Errc::unavailable, "OpenSSL is configured to have no MD5");
  return out;
}

std::string to_hex(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  out.reserve(bytes.size() * 2);
  for (unsigned char byte : bytes) {
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
  return out;
}

bool equal_constant_time(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

uint64_t siphash(const SipKey& key, uint64_t word) {
  uint64_t v0 = key[0] ^ 0x736f6d6570736575, v1 = key[1] ^ 0x646f72616e646f6d;
  uint64_t v2 = key[0] ^ 0x6c7967656e657261, v3 = key[1] ^ 0x7465646279746573;
  auto rounds = [&](int n) {
    for (int i = 0; i < n; ++i) {
      v0 += v1, v1 = std::rotl(v1, 13) ^ v0, v0 = std::rotl(v0, 32);
      v2 += v3, v3 = std::rotl(v3, 16) ^ v2;
      v0 += v3, v3 = std::rotl(v3, 21) ^ v0;
      v2 += v1, v1 = std::rotl(v1, 17) ^ v2, v2 = std::rotl(v2, 32);
    }
  };
  constexpr uint64_t kLength = uint64_t{8} << 56;  // the last block: length in the top byte
  v3 ^= word, rounds(2), v0 ^= word;
  v3 ^= kLength, rounds(2), v0 ^= kLength;
  v2 ^= 0xff, rounds(4);
  return v0 ^ v1 ^ v2 ^ v3;
}

}  // namespace opscore
