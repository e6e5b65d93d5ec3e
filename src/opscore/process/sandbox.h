#pragma once
// A wall around a program, built by bubblewrap (bwrap): its own PID, mount, network, IPC, host name
// and user namespaces, no capabilities, no new privileges, and a file system that holds the
// system's programs and libraries, what is named here, and nothing else. What it does not protect
// from: docs/howto/sandbox.md.
//
// These functions only look at the file system, hence are safe for concurrent use. What was made
// for a run ends with it: bwrap dies with the thread that started it, and the namespaces with
// bwrap.

#include <expected>
#include <map>
#include <string>
#include <vector>

#include "opscore/base/error.h"
#include "opscore/process/child.h"

namespace opscore {

// Relative paths start in the server's working folder.
struct SandboxRules {
  bool network = false;            // the server's network; else a loopback of its own
  std::vector<std::string> read;   // files and folders it sees besides the system's
  std::vector<std::string> write;  // those it may also write
  // Folders that are empty and files that cannot be read although a folder around them is shown,
  // unless they are themselves named above. Those that do not exist are no problem.
  std::vector<std::string> hidden;
  uint64_t tmp_bytes = 0;  // of each of its private /tmp and /dev/shm, which are in memory
};

// The path of a bwrap that works on this machine for this user: it has just run a program in such a
// sandbox. The error says what failed and what to do. Takes some 20 ms, at most 10 s; a Reaper of
// this process does not get in its way. Throws Error{unavailable} when a pipe or a wait fails.
std::expected<std::string, Error> find_sandbox(const std::string& search_path);

// Where the program, its working folder and what the rules name really are, without symbolic links.
// When that differs from what it was at start, somebody has put a link in place of one of them,
// perhaps a program that may write around it and wants the next run to see what it leads to.
std::map<std::string, std::string> real_places(const ChildOptions& child,
                                               const SandboxRules& rules);

// The same program inside a sandbox of the bwrap at `bwrap`. It sees its own file and, unless that
// is / or hidden, its working folder, both read-only. A path that is gone by then fails the start
// of the program, in bwrap's words on stderr and with exit code 1.
// `child.limits.processes` bind what is inside, together.
ChildOptions sandboxed(const std::string& bwrap, const ChildOptions& child,
                       const SandboxRules& rules);

}  // namespace opscore
