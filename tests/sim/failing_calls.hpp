// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "sim/fails_once.hpp"

namespace remapfs::sim {

// Calls of the C library that change what a folder holds, or make it durable, of a program that is linked with
// failing_calls.cpp: fsync, rename, renameat2, flock and mkostemp fail with EIO.
extern FailsOnce failing_calls;

}  // namespace remapfs::sim
