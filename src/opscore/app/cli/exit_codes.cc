#include "opscore/app/cli/exit_codes.h"

namespace opscore {

CommandExit exit_status_of(int http_status) {
  switch (http_status) {
    case 404:
      return CommandExit::not_found;
    case 500:
      return CommandExit::failed;
    case 502:
    case 503:
    case 504:
      return CommandExit::unreachable;
    default:
      return CommandExit::refused;
  }
}

CommandExit client_exit_status(Errc code) {
  switch (code) {
    case Errc::malformed:
    case Errc::invalid:
      return CommandExit::usage;
    case Errc::not_found:
      return CommandExit::not_found;
    case Errc::timeout:
    case Errc::unavailable:
      return CommandExit::unreachable;
    case Errc::conflict:
      return CommandExit::refused;
    default:
      return CommandExit::failed;
  }
}

CommandExit server_exit_status(Errc code) {
  switch (code) {
    case Errc::invalid:
      return CommandExit::usage;
    case Errc::conflict:
      return CommandExit::refused;
    default:
      return CommandExit::failed;
  }
}

CommandExit backup_exit_status(Errc code) {
  switch (code) {
    case Errc::invalid:
    case Errc::conflict:
    case Errc::corrupt:
      return CommandExit::refused;
    case Errc::not_found:
      return CommandExit::not_found;
    default:
      return CommandExit::failed;
  }
}

}  // namespace opscore
