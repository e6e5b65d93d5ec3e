#pragma once
// What a worker does when it crashes: says which slot it was on the page that it shares with its
// supervisor, prints one line and the stack on stderr, and dies of the same signal as it would have
// without. Also: SIGQUIT prints the stacks of all threads and the process goes on.

#include <cstdint>

#include "opscore/process/crash_page.h"

namespace opscore {

// Once per process, before it starts threads; `page` must live as long as the process. Handles
// SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS, SIGTRAP and SIGQUIT.
void install_crash_handler(CrashPage& page);

// A crash of the calling thread is from now on blamed on `slot`; CrashPage::kNoSlot takes that
// back. The first call gives the thread a stack for the handler, so that running out of the normal
// one is reported too.
void set_crash_slot(int32_t slot);

}  // namespace opscore
