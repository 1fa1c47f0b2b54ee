// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/world.hpp"
#include "remapfs/error.hpp"
#include "remapfs/smart.hpp"

// What smartctl(8) of smartmontools says of a drive, from its JSON (`smartctl -j`, 7.0 and later).

namespace remapfs::cli {

// Error recovery control of a drive: how long it tries to read a sector before it gives up.
struct ErrorRecovery {
  bool is_disk = false;                           // one that spins and speaks ATA: others have no such setting
  bool known = false;                             // the drive said how it is set
  std::optional<std::uint64_t> read_deciseconds;  // nothing: off
  std::optional<std::uint64_t> write_deciseconds;
};

struct DriveHealth {
  SmartReading reading;                      // its device and time are for the caller to fill in
  std::vector<std::string> failing;          // attributes below their threshold now
  std::optional<unsigned> critical_warning;  // of NVMe
  bool spare_exhausted = false;              // of NVMe: below its threshold
  std::string trouble;                       // why nothing is known; empty: something is
  ErrorRecovery recovery;
};

// The path of the drive that a device, partition or file lies on: "/dev/sda". Errors: not_found, and in words why there
// is none.
[[nodiscard]] Result<std::string> drive_of(const std::string& path, const KernelViews& views);

// Asks the drive. Errors: those of run_program(); invalid (no answer that can be understood).
[[nodiscard]] Result<DriveHealth> ask_smartctl(const std::string& drive, const World& world,
                                               std::chrono::milliseconds patience);
// The answer in smartctl's own words.
[[nodiscard]] Result<DriveHealth> parse_smartctl(const std::string& text);

// Whether the kernel gives up before the drive does, and what to do about it; nothing: all is well, or not known.
// timeout: of the kernel's commands to the drive, in seconds, when it has one.
[[nodiscard]] std::optional<std::string> recovery_warning(const ErrorRecovery& recovery, const std::string& drive,
                                                          std::optional<std::uint64_t> timeout);
// Of a kernel's disk.
[[nodiscard]] std::optional<std::uint64_t> command_timeout(const std::string& drive, const KernelViews& views);

}  // namespace remapfs::cli
