// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>

#include "control_socket.hpp"
#include "fuse_disk.hpp"
#include "process_safety.hpp"

namespace faulty {

// What the verbs of the control socket act on.
struct ControlledDisk {
  FaultEngine& engine;
  FuseDisk& disk;
  const DiskImage& image;
  const ProcessSafety& safety;
  std::function<Result<void>()> unmount;
};

// Carries out one request of the control socket: set, clear, list, stats, gone, unmount.
[[nodiscard]] Json answer_control(const ControlledDisk& disk, const Json& request);

}  // namespace faulty
