#pragma once
// Starting a program. It leads a session and process group of its own, gets exactly the argv,
// environment and descriptors that are given here, default signal dispositions, and dies with
// the thread that started it (PDEATHSIG), however that ends. Waiting for it is the Reaper's job.

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "opscore/base/time.h"
#include "opscore/process/file_descriptor.h"

namespace opscore {

// What a program and everything it starts may use, by setrlimit(2); 0: as much as the server.
struct ResourceLimits {
  uint64_t memory_bytes = 0;  // address space of each process
  Duration cpu{0};            // of each process, in whole seconds: SIGXCPU, a second later SIGKILL
  uint64_t open_files = 0;
  uint64_t open_files_soft = 0;  // with open_files 0: where it starts; it may raise that itself
  uint64_t file_bytes = 0;       // of each file it writes: SIGXFSZ
  uint64_t processes = 0;        // of the server's user in total; root is not held to it
};

struct ChildOptions {
  std::string program;            // absolute path, see find_program.h
  std::vector<std::string> argv;  // argv[0] included
  std::vector<std::string> env;   // "NAME=value", exactly these
  std::string cwd;                // empty: the server's
  ResourceLimits limits;
  std::string input;  // what it can read from stdin
  // It is a sandbox (sandbox.h): what it runs is in a PID namespace and a session of its own and
  // ends with it.
  bool contained = false;
  std::vector<int> groups;  // files that it writes itself into before it runs: see cgroup.h
  // Descriptors that it gets beside stdin, stdout and stderr: as 3, 4 and so on, in this order.
  std::vector<int> passed;
};

// A started program, not waited for. `out` and `err` are the reading ends of its stdout and
// stderr, non-blocking.
struct StartedChild {
  pid_t pid = 0;
  FileDescriptor handle;  // a pidfd: readable once the program has ended
  FileDescriptor out;
  FileDescriptor err;
};

// Safe for concurrent use. The input is handed over as a sealed file in memory, so a program that
// never reads it stalls nobody. Throws Error{unavailable} that names the step that failed and why
// ("run /bin/x: Permission denied"); then nothing was started.
StartedChild start_child(const ChildOptions& options);

// What execve(2) takes: a null at the end. It points into the texts, and does not change them.
std::vector<char*> pointers_to(const std::vector<std::string>& texts);

}  // namespace opscore
