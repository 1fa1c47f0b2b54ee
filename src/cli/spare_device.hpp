// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/world.hpp"
#include "core/unique_fd.hpp"
#include "io/device_slice.hpp"
#include "io/posix_device.hpp"
#include "io/sysfs.hpp"
#include "remapfs/block_device.hpp"
#include "remapfs/error.hpp"
#include "remapfs/volume.hpp"

namespace remapfs::cli {

struct CreationFailure {
  Error error;
  bool usage = false;  // the arguments do not fit together
};

// A spare file that was made, and is removed again unless it is kept.
class NewSpareFile {
 public:
  NewSpareFile() = default;
  NewSpareFile(NewSpareFile&& other) noexcept : path_(std::exchange(other.path_, {})), file_(std::move(other.file_)) {}
  NewSpareFile& operator=(NewSpareFile&&) = delete;
  ~NewSpareFile();

  // All of it allocated: a spare that runs out of space when a sector dies would be no spare. Errors: no_space,
  // permission, device_other.
  Result<void> make(const std::string& path, ByteCount size);
  void keep() { path_.clear(); }
  [[nodiscard]] bool made() const { return !path_.empty(); }
  // Whether this descriptor, opened by the name, is of the file that was made: whoever owns the folder may have put
  // something else there.
  [[nodiscard]] bool is_it(int descriptor) const;

 private:
  std::string path_;
  UniqueFd file_;
};

// What is to become a spare.
struct SpareWish {
  std::string path;                // absolute
  std::optional<ByteCount> size;   // make it, a file of this size
  std::string size_option;         // how the command line calls that
  std::uint64_t block_size = 0;    // of the volume
  bool force = false;              // overwrite one that carries a file system or belongs to another volume
  std::vector<std::string> apart;  // members with which it must share no byte
  // Of a volume that is there: its uuid, and those of its spares, none of which is ever overwritten. One that was made
  // ready for it and holds nothing is.
  std::string volume;
  std::vector<std::string> members;
  std::vector<std::string> former;  // uuids of those that have left: nothing on them is needed
};

struct SpareDevice {
  NewSpareFile file;  // outlives the device opened on it
  std::unique_ptr<BlockDevice> device;
  ByteOffset begin;  // on its device
};

// Opens a spare where the map says that it is. Errors: those of open_device().
Result<std::unique_ptr<BlockDevice>> open_spare_of(const SpareInfo& spare, const DeviceOptions& how);

// Where a spare begins that takes the last `reserve` bytes of a device, or some more: at a MiB of it.
// Nothing: no disk would be left.
[[nodiscard]] std::optional<ByteOffset> begin_of_reserve(ByteCount device, ByteCount reserve);

// What is to be a spare at the end of a primary. All of a file's end is allocated.
struct ReserveWish {
  std::string path;  // of the primary, absolute
  ByteCount size;
  std::uint64_t block_size = 0;  // of the volume
  bool force = false;            // the primary holds something that may reach to its end
};
tl::expected<SpareDevice, CreationFailure> take_reserve(const ReserveWish& wish, std::shared_ptr<BlockDevice> primary);

// Opens it alone, or makes it. Nothing is written to one that is there.
tl::expected<SpareDevice, CreationFailure> open_spare_device(const SpareWish& wish, const World& world);

// Opens a member that nobody else uses. Errors: those of check_unused() and open_device().
Result<std::unique_ptr<BlockDevice>> open_alone(const std::string& path, const World& world);

// Makes an opened device a spare of this volume that nobody knows yet, durably; what it held is lost. Its number is the
// lowest that the volume has never used. Errors: invalid (the volume has had 255 spares), those of
// store::design_spare() and store::initialise_spare().
Result<SpareInfo> prepare_spare(const std::string& map_path, const VolumeInfo& volume, SpareDevice& spare);

// Makes the name of a file durable. Errors: device_other.
Result<void> sync_directory_of(const std::string& path);

// Refuses what stands on the volume's own disk, which would wait for itself. Errors: invalid.
Result<void> check_stands_apart(const std::string& path, std::string_view what, const std::string& mount_point,
                                const KernelViews& views);

// Opens a device that was prepared to be a spare of this volume. Errors: foreign (it was not), device errors.
Result<NewSpare> open_prepared_spare(const std::string& path, const VolumeInfo& volume, const KernelViews& views);

}  // namespace remapfs::cli
