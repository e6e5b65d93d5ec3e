#include "opscore/base/sha256.h"

#include <openssl/evp.h>

#include "opscore/base/error.h"

namespace opscore {

struct Sha256::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ~State() { EVP_MD_CTX_free(context); }
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  int ok = state_->context ? EVP_DigestInit_ex(state_->context, EVP_sha256(), nullptr) : 0;
  OPSCORE_ASSERT(ok == 1, "SHA-256 is there");
}

Sha256::~Sha256() = default;

void Sha256::add(std::string_view bytes) {
  int ok = EVP_DigestUpdate(state_->context, bytes.data(), bytes.size());
  OPSCORE_ASSERT(ok == 1, "hashing cannot fail");
}

std::string Sha256::finish() {
  std::string out(32, '\0');
  unsigned size = 0;
  int ok = EVP_DigestFinal_ex(state_->context, reinterpret_cast<unsigned char*>(out.data()), &size);
  OPSCORE_ASSERT(ok == 1 && size == out.size(), "SHA-256 has 32 bytes");
  return out;
}

}  // namespace opscore
