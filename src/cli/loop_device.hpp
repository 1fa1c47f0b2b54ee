// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/mount_entry.hpp"
#include "io/sysfs.hpp"
#include "remapfs/error.hpp"

namespace remapfs::cli {

struct LoopOptions {
  std::uint32_t sector_size = 512;
  bool read_only = false;
  bool scan_partitions = false;
};

// A loop device that was set up.
struct LoopAttachment {
  std::string device;  // "/dev/loop3"
  bool direct = true;  // false: the kernel refused direct I/O, the data is cached twice
};

// Sets up a free loop device over the file, with direct I/O. Another process that takes the same free device at the
// same moment is no error: the next one is tried. Errors: busy (no device is free), permission, device errors.
[[nodiscard]] Result<LoopAttachment> attach_loop(const std::string& path, const LoopOptions& options);

// Names ("/dev/loop3") of the active loop devices over any of these files, which are compared as text: their file
// system, which may be dead, is not asked.
[[nodiscard]] std::vector<std::string> loops_over(const std::vector<std::string>& paths, const KernelViews& views = {});

// The file below an active loop device. Errors: invalid (not a loop device), not_found (not set up).
[[nodiscard]] Result<std::string> file_below_loop(const std::string& device, const KernelViews& views = {});

// Writes out what is cached, takes the device down and waits until it is really free. Refused while the device or a
// partition of it is mounted, swapped on or otherwise held. Errors: busy (naming the users; nothing was changed),
//   timeout (somebody keeps it open: it goes when they close it), device errors.
// The result, if any, is what kept cached data from being written: the device went all the same, since one over a
// volume that has failed could never be taken down otherwise, and waiting keeps nothing: the kernel drops pages that it
// could not write.
[[nodiscard]] Result<std::optional<Error>> detach_loop(const std::string& device, std::chrono::milliseconds patience,
                                                       const KernelViews& views = {});

}  // namespace remapfs::cli
