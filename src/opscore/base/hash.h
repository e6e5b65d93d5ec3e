#pragma once
// Hashes: SHA-256 and HMAC by OpenSSL; SipHash-2-4 for the keyed hash inside every task id.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace opscore {

std::string sha256(std::string_view bytes);                             // 32 raw bytes
std::string hmac_sha256(std::string_view key, std::string_view bytes);  // 32 raw bytes
// 16 raw bytes: a name that somebody else chose so, not a protection. Throws Error{unavailable}
// where OpenSSL is told to have none (FIPS).
std::string md5(std::string_view bytes);
std::string to_hex(std::string_view bytes);
// Takes the same time whatever the contents; only the length leaks.
bool equal_constant_time(std::string_view a, std::string_view b);

// SipHash-2-4 of one 64-bit word, after Aumasson and Bernstein 2012 (https://131002.net/siphash).
// OpenSSL's needs a heap context per call, which is dearer than the hash.
using SipKey = std::array<uint64_t, 2>;
uint64_t siphash(const SipKey& key, uint64_t word);

}  // namespace opscore
