// SPDX-License-Identifier: Apache-2.0
#include "cli/new_primary.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "cli/output.hpp"
#include "cli/spare_device.hpp"
#include "io/device_identity.hpp"
#include "io/device_slice.hpp"
#include "io/member_check.hpp"
#include "io/posix_device.hpp"
#include "store/spare_superblocks.hpp"

namespace remapfs::cli {
namespace {

Result<void> check_size(const BlockDevice& device, const VolumeInfo& volume) {
  const ByteCount size = device.geometry().size;
  if (size >= volume.size) return {};
  return fail(Errc::invalid, fmt::format("too small, {} ({} bytes), the volume has {}, use a larger device",
                                         device.name(), size.value(), volume.size.value()));
}

// What would be overwritten.
Result<void> check_contents(BlockDevice& device) {
  const auto copies = store::read_superblocks(device);
  for (const store::Copy copy : store::kCopies) {
    if (!copies[copy] && copies[copy].error().code != Errc::too_new) continue;
    return fail(
        Errc::exists,
        fmt::format("it is a spare{}, {}, use another device or --force",
                    copies[copy] ? " of volume " + copies[copy]->volume.to_string() : std::string(), device.name()));
  }
  return check_no_signature(device.name());
}

}  // namespace

Result<void> check_new_primary(const std::string& path, const VolumeInfo& volume, bool force, World& world) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0 && errno == ENOENT) {
    return fail(Errc::not_found, fmt::format("it is not there, {}, name a device, or make a file with fallocate -l {}",
                                             path, volume.size.value()));
  }
  if (auto apart = check_no_overlap(volume.primary_path, path, world.views);
      !apart && apart.error().code == Errc::invalid) {
    return apart;
  }
  for (const SpareInfo& spare : volume.spares) {
    auto apart = check_no_overlap(spare.path, path, world.views);
    if (!apart && apart.error().code == Errc::invalid) return apart;
  }
  const auto device = open_alone(path, world);
  if (!device) return fail(device.error());
  if (auto large = check_size(**device, volume); !large) return large;
  if (const std::string warning = warning_for(**device); !warning.empty()) report_note(world, warning);
  return force ? Result<void>() : check_contents(**device);
}

Result<NewPrimary> open_new_primary(const std::string& path, const VolumeInfo& volume, const KernelViews& views) {
  DeviceOptions how;
  how.views = views;
  auto device = open_device(path, how);
  if (!device) return fail(device.error());
  if (auto large = check_size(**device, volume); !large) return fail(large.error());
  const auto identity = identify_device((*device)->native_handle(), views);
  if (!identity) return fail(identity.error());
  // Of a file that was made just now.
  if (!(*device)->geometry().block_device) {
    if (auto synced = sync_directory_of(path); !synced) return fail(synced.error());
  }
  auto part = DeviceSlice::make(std::move(*device), {ByteOffset(0), ByteOffset(volume.size.value())});
  if (!part) return fail(part.error());
  return NewPrimary{{path, to_line(*identity)}, std::make_unique<MemberDevice>(std::move(*part)), false};
}

}  // namespace remapfs::cli
