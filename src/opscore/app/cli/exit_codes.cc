#include "opscore/app/cli/exit_codes.h"

namespace opscore {

ExitStatus exit_status_of(int http_status) {
  switch (http_status) {
    case 404:
      return ExitStatus::not_found;
    case 500:
      return ExitStatus::failed;
    case 502:
    case 503:
    case 504:
      return ExitStatus::unreachable;
    default:
      return ExitStatus::refused;
  }
}

ExitStatus client_exit_status(Errc code) {
  switch (code) {
    case Errc::malformed:
    case Errc::invalid:
      return ExitStatus::usage;
    case Errc::not_found:
      return ExitStatus::not_found;
    case Errc::timeout:
    case Errc::unavailable:
      return ExitStatus::unreachable;
    case Errc::conflict:
      return ExitStatus::refused;
    default:
      return ExitStatus::failed;
  }
}

ExitStatus server_exit_status(Errc code) {
  switch (code) {
    case Errc::invalid:
      return ExitStatus::usage;
    case Errc::conflict:
      return ExitStatus::refused;
    default:
      return ExitStatus::failed;
  }
}

}  // namespace opscore
