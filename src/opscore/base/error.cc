#include "opscore/base/error.h"

#include <array>
#include <cstdio>
#include <cstdlib>

namespace opscore {
namespace {

// grpc: https://grpc.github.io/grpc/core/md_doc_statuscodes.html
constexpr std::array<ErrcInfo, kErrcCount> kTable{{
    {"malformed", "Malformed request", 400, 3, false, LogLevel::info},
    {"unauthenticated", "Authentication required", 401, 16, false, LogLevel::info},
    {"forbidden", "Not allowed", 403, 7, false, LogLevel::info},
    {"not-found", "Not found", 404, 5, false, LogLevel::debug},
    {"method-not-allowed", "Method not allowed", 405, 12, false, LogLevel::info},
    {"conflict", "Conflict", 409, 9, false, LogLevel::info},
    {"handed-to-dramatiq", "Handed to Dramatiq", 409, 9, false, LogLevel::info},
    {"too-large", "Too large", 413, 8, false, LogLevel::info},
    {"invalid", "Invalid field", 422, 3, false, LogLevel::info},
    {"queue-full", "Queue full", 429, 8, true, LogLevel::warn},
    {"cancelled", "Cancelled", 499, 1, false, LogLevel::info},
    {"timeout", "Timed out", 504, 4, true, LogLevel::warn},
    {"unavailable", "Unavailable", 503, 14, true, LogLevel::warn},
    {"overloaded", "Overloaded", 503, 14, true, LogLevel::warn},
    {"disk-low", "Disk space low", 507, 8, true, LogLevel::error},
    {"corrupt", "Stored data corrupt", 500, 15, false, LogLevel::error},
    {"internal", "Internal error", 500, 13, false, LogLevel::error},
}};

}  // namespace

const ErrcInfo& info(Errc code) {
  return kTable[static_cast<size_t>(code)];
}

std::optional<Errc> errc_from_slug(std::string_view slug) {
  for (int i = 0; i < kErrcCount; ++i)
    if (kTable[static_cast<size_t>(i)].slug == slug) return static_cast<Errc>(i);
  return std::nullopt;
}

Error Error::with_context(std::string_view what_was_attempted) const {
  Error wrapped(code_, std::string(what_was_attempted) + ": " + what(), retryable());
  wrapped.field_ = field_;
  return wrapped;
}

void assertion_failed(const char* condition, const char* message, const char* file, int line) {
  std::fprintf(stderr, "opscore: bug: %s (%s) at %s:%d\n", message, condition, file, line);
  std::fflush(stderr);
  std::abort();
}

}  // namespace opscore
