// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fuse/transport.hpp"
#include "remapfs/error.hpp"
#include "remapfs/volume.hpp"

namespace remapfs::cli {

// What `-o` can say, in fstab as well.
struct MountSettings {
  bool read_only = false;
  bool degraded = false;  // implies read_only
  bool allow_other = false;
  OnLoss on_loss = OnLoss::fail;
  enum class Engine : std::uint8_t { automatic, io_uring, blocking };
  Engine engine = Engine::automatic;
  std::optional<unsigned> workers;
  std::vector<std::string> passed_on;  // to the kernel: noexec, noatime, ...
};

inline constexpr unsigned kMaxWorkers = 256;

// Reads comma-separated options; later ones win. Options that mount(8) acts on itself, or that say what is so anyway
// (defaults, nofail, _netdev, user, x-..., suid, dev, ...), are taken and do nothing.
// Errors: invalid (unknown option or value), unsupported (remount).
[[nodiscard]] Result<MountSettings> parse_mount_options(std::span<const std::string> lists);

}  // namespace remapfs::cli
