// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace remapfs::fuse {

struct HardeningWishes {
  bool lock_memory = true;    // off under the thread sanitizer: its shadow cannot be locked
  int oom_score_adj = -1000;  // the kernel's out-of-memory killer spares us
};

// What the kernel granted.
struct HardeningReport {
  bool io_flusher = false;
  bool memory_locked = false;
  int oom_score_adj = 0;           // in force now
  std::vector<std::string> lines;  // one a measure, for the log and `status`: "granted" or why not
};

// Keeps a memory shortage from deadlocking a loop device, or a file system with dirty pages, that we serve: memory
// needed to answer a write must not wait for that write. Then gives up all capabilities but those that serving takes,
// for this process and what it runs. Measures that are refused are reported, never fatal.
//
// Sets PR_SET_IO_FLUSHER (Linux 5.6, CAP_SYS_RESOURCE), which threads made later inherit: call before any thread
// starts. Locks all present and future memory, only with CAP_IPC_LOCK or an unlimited RLIMIT_MEMLOCK: with less,
// allocations would fail later, at the limit. Children made later inherit the first and the last.
[[nodiscard]] HardeningReport harden_process(const HardeningWishes& wishes = {});

// Threads made from now on have small stacks: under a memory lock all of each is resident.
void limit_thread_stacks();

}  // namespace remapfs::fuse
