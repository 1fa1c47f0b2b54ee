// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "sim/fails_once.hpp"

namespace remapfs::sim {

// Calls of the C library about files and what a folder holds, of a program that is linked with failing_calls.cpp, of
// SQLite's as well: open, stat, lstat, fstat, pread, realpath, flock, fsync, rename, renameat2 and mkostemp fail with
// EIO.
extern FailsOnce failing_calls;

}  // namespace remapfs::sim
