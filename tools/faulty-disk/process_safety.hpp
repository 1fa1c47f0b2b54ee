// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace faulty {

// What a process that serves a disk does so that the kernel, short of memory, never has to wait for it while it waits
// for memory itself: it does not write back dirty pages to get memory (PR_SET_IO_FLUSHER), is not swapped out
// (mlockall) and is not chosen by the OOM killer.
struct ProcessSafety {
  bool io_flusher = false;
  bool memory_locked = false;
  // What was refused, for the user: "what, why, what to do".
  std::vector<std::string> warnings;
};

// To be called before the first thread starts: threads inherit it.
[[nodiscard]] ProcessSafety make_process_safe();

}  // namespace faulty
