// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "io/sysfs.hpp"
#include "remapfs/block_device.hpp"
#include "remapfs/volume.hpp"

namespace remapfs::cli {

struct AssembleOptions {
  bool read_only = false;
  bool degraded = false;  // a spare may be missing; only together with read_only
  OnLoss on_loss = OnLoss::fail;
  std::function<void(const Event&)> on_event;
  // The map is ours, and no device is open yet: what others have to know before they are.
  std::function<void(const VolumeInfo&)> before_devices;
  KernelViews views;
  // How long to wait for others to let go of the devices, and of the map of a mount that exists: a killed process does
  // so with its last transfer in flight.
  std::chrono::milliseconds lock_wait{5000};
  VolumeMemory* memory = nullptr;  // of VolumeOptions
  // The mount exists and nobody serves it. Who else uses the devices was asked when it was made, and must not be asked
  // now: the answer is looked for below every loop device, also below one over this very mount, and would never come.
  bool goes_on = false;
};

// A volume put together from its parts, and what is worth saying about them.
struct AssembledVolume {
  std::unique_ptr<Volume> volume;
  bool degraded = false;              // a spare is missing
  std::vector<std::string> warnings;  // one line each
};

// Opens the volume of a map: the map is locked, its devices are opened alone and checked (identity, use by others,
// overlap), the spares attached and the whole map loaded. Nothing of it is changed when anything is refused.
// Errors: those of the map store and of the devices; each with "what, where, what to do".
Result<AssembledVolume> assemble(const std::string& map_path, const AssembleOptions& options);

// Keeps requests below the age at which the kernel would break the connection (fs.fuse.default_request_timeout and
// max_request_timeout, seconds; 0: none, as usual): one may wait for blocks, try again, and then wait once more.
void limit_to_kernel(VolumeOptions& options, const KernelViews& views);

// Whether somebody else has written to a primary that is a file since the volume was closed in order; stamp: as it is
// now. And what there is to say then.
[[nodiscard]] bool was_changed(const VolumeInfo& info, const std::string& stamp);
[[nodiscard]] std::string change_warning(const VolumeInfo& info);

}  // namespace remapfs::cli
