// SPDX-License-Identifier: Apache-2.0
#include "cli/spare_device.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <tuple>
#include <utility>

#include "cli/map_view.hpp"
#include "cli/output.hpp"
#include "cli/stands_on.hpp"
#include "core/unique_fd.hpp"
#include "io/device_identity.hpp"
#include "io/member_check.hpp"
#include "store/new_spare.hpp"
#include "store/spare_superblocks.hpp"

namespace remapfs::cli {
Result<void> sync_directory_of(const std::string& path) {
  const std::string directory = path.substr(0, path.rfind('/') + 1);
  const UniqueFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd && ::fsync(fd.get()) == 0) return {};
  return fail(Errc::device_other,
              fmt::format("cannot sync the directory, {} ({}), check its disk", directory, std::strerror(errno)),
              errno);
}

namespace {

Error cannot_make(const std::string& path, int error) {
  const Errc code = error == ENOSPC || error == EDQUOT || error == EFBIG ? Errc::no_space
                    : error == EACCES || error == EPERM                  ? Errc::permission
                                                                         : Errc::device_other;
  return {code, error,
          fmt::format("cannot make the spare, {} ({}), use another place or size", path, std::strerror(error))};
}

tl::unexpected<CreationFailure> could_not(Error error) {
  return tl::unexpected(CreationFailure{std::move(error), false});
}

// All of it is there, whatever it holds: a spare that ran out of space when a sector dies would be no spare.
Result<void> allocate(int fd, const std::string& path, ByteRange range) {
  const int error =
      ::posix_fallocate(fd, static_cast<off_t>(range.begin.value()), static_cast<off_t>(range.size().value()));
  if (error != 0) return fail(cannot_make(path, error));
  if (::fsync(fd) != 0) return fail(cannot_make(path, errno));
  return {};
}

// What another volume has there is not overwritten.
Result<void> check_no_spare(const store::SuperblockCopies& copies, const std::string& path) {
  for (const store::Copy copy : store::kCopies) {
    if (!copies[copy] && copies[copy].error().code != Errc::too_new) continue;
    return fail(Errc::exists,
                fmt::format("spare belongs to another volume, {}{}, run remapfs destroy on that or use --force", path,
                            copies[copy] ? " (" + copies[copy]->volume.to_string() + ")" : std::string()));
  }
  return {};
}

// Of one that was there before.
Result<void> check_existing(const SpareWish& wish, BlockDevice& spare) {
  const ByteCount size = spare.geometry().size;
  if (wish.size && *wish.size != size) {
    return fail(Errc::exists,
                fmt::format("spare exists already, {} ({} bytes), leave out {} to use it whole", wish.path,
                            size.value(), wish.size_option),
                EEXIST);
  }
  const auto copies = store::read_superblocks(spare);
  bool made_ready_before = false;
  for (const store::Copy copy : store::kCopies) {
    if (!copies[copy] || copies[copy]->volume.to_string() != wish.volume) continue;
    made_ready_before = true;
    const std::string uuid = copies[copy]->spare.to_string();
    const auto is_one_of = [&](const std::vector<std::string>& uuids) {
      return std::find(uuids.begin(), uuids.end(), uuid) != uuids.end();
    };
    if (is_one_of(wish.members)) {
      return fail(Errc::exists, fmt::format("is a spare of this volume already, {}, name another device", wish.path));
    }
    if (wish.force || is_one_of(wish.former)) continue;
    // An earlier copy of the map does not know all of its spares.
    const auto unused = store::is_never_used(spare, *copies[copy]);
    if (!unused) return fail(unused.error());
    if (*unused) continue;
    return fail(Errc::exists, fmt::format("has been a spare of this volume that its map does not know, {}, bring back "
                                          "the latest map, or use --force if nothing on it is needed",
                                          wish.path));
  }
  if (wish.force || made_ready_before) return {};
  if (auto free = check_no_spare(copies, wish.path); !free) return free;
  return check_no_signature(wish.path);
}

// Of the end of a primary, where its own contents may lie.
Result<void> check_end(const ReserveWish& wish, BlockDevice& end, ByteOffset begin) {
  if (auto free = check_no_spare(store::read_superblocks(end), wish.path); !free) return free;
  const auto found = find_signature(wish.path);
  if (!found) return fail(found.error());
  if (found->empty()) return {};
  return fail(Errc::exists,
              fmt::format("holds a {}, {}, whose end would be overwritten: make it no larger than {} bytes first, "
                          "then use --force",
                          *found, wish.path, begin.value()));
}

SpareInfo spare_of(const store::Superblock& superblock, const std::string& path) {
  SpareInfo info;
  info.id = superblock.id;
  info.path = path;
  info.uuid = superblock.spare.to_string();
  info.slots = superblock.layout.slots;
  info.first_slot = superblock.layout.first_slot;
  return info;
}

}  // namespace

Result<void> NewSpareFile::make(const std::string& path, ByteCount size) {
  file_.reset(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file_) return fail(cannot_make(path, errno));
  path_ = path;
  auto allocated = allocate(file_.get(), path, {ByteOffset(0), ByteOffset(size.value())});
  return allocated ? sync_directory_of(path) : allocated;
}

bool NewSpareFile::is_it(int descriptor) const {
  struct stat made {};
  struct stat found {};
  return ::fstat(file_.get(), &made) == 0 && ::fstat(descriptor, &found) == 0 && made.st_dev == found.st_dev &&
         made.st_ino == found.st_ino;
}

NewSpareFile::~NewSpareFile() {
  // What somebody else put there is not ours to remove.
  const UniqueFd there(path_.empty() ? -1 : ::open(path_.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!there || !is_it(there.get())) return;
  ::unlink(path_.c_str());
  std::ignore = sync_directory_of(path_);
}

Result<std::unique_ptr<BlockDevice>> open_spare_of(const SpareInfo& spare, const DeviceOptions& how) {
  auto device = open_device(spare.path, how);
  if (!device) return device;
  return DeviceSlice::rest_of(std::move(*device), spare.begin);
}

Result<std::unique_ptr<BlockDevice>> open_alone(const std::string& path, const World& world) {
  if (auto unused = check_unused(path, world.views); !unused) return fail(unused.error());
  DeviceOptions how;
  how.views = world.views;
  return open_device(path, how);
}

std::optional<ByteOffset> begin_of_reserve(ByteCount device, ByteCount reserve) {
  if (reserve >= device) return std::nullopt;
  const ByteOffset begin(round_down(device.value() - reserve.value(), store::kSlotAlignment));
  return begin == ByteOffset(0) ? std::nullopt : std::optional(begin);
}

tl::expected<SpareDevice, CreationFailure> take_reserve(const ReserveWish& wish, std::shared_ptr<BlockDevice> primary) {
  const DeviceGeometry& geometry = primary->geometry();
  const auto begin = begin_of_reserve(geometry.size, wish.size);
  if (!begin) {
    return could_not({Errc::invalid, 0,
                      fmt::format("reserve leaves no disk, {} ({} of {}), use a smaller one", wish.path,
                                  human_size(wish.size.value()), human_size(geometry.size.value()))});
  }
  const ByteRange end{*begin, ByteOffset(geometry.size.value())};
  if (store::slots_for(end.size(), wish.block_size) == 0) {
    return could_not(
        {Errc::invalid, 0,
         fmt::format("reserve is too small, {} ({}), use 2M or more", wish.path, human_size(wish.size.value()))});
  }
  const int native = primary->native_handle();
  auto part = DeviceSlice::make(std::move(primary), end);
  if (!part) return could_not(part.error());
  if (!wish.force) {
    if (auto free = check_end(wish, **part, *begin); !free) return could_not(free.error());
  }
  if (!geometry.block_device) {
    // Not for direct transfers: where the file system cannot allocate, the library writes single bytes.
    const UniqueFd file(::open(fmt::format("/proc/self/fd/{}", native).c_str(), O_RDWR | O_CLOEXEC));
    if (!file) return could_not(cannot_make(wish.path, errno));
    if (auto allocated = allocate(file.get(), wish.path, end); !allocated) return could_not(allocated.error());
  }
  SpareDevice spare;
  spare.device = std::move(*part);
  spare.begin = *begin;
  return spare;
}

tl::expected<SpareDevice, CreationFailure> open_spare_device(const SpareWish& wish, const World& world) {
  SpareDevice spare;
  struct stat info {};
  const bool there = ::lstat(wish.path.c_str(), &info) == 0;
  const auto too_small = [&](std::uint64_t size) {
    return could_not(
        {Errc::invalid, 0, fmt::format("spare is too small, {} ({}), use a larger one", wish.path, human_size(size))});
  };
  if (!there) {
    if (!wish.size) {
      return tl::unexpected(CreationFailure{
          {Errc::invalid, 0, fmt::format("spare is not there, {}, use {} to make it", wish.path, wish.size_option)},
          true});
    }
    if (store::slots_for(*wish.size, wish.block_size) == 0) return too_small(wish.size->value());
    if (auto made = spare.file.make(wish.path, *wish.size); !made) return could_not(made.error());
  }
  for (const std::string& other : wish.apart) {
    if (auto apart = check_no_overlap(other, wish.path, world.views); !apart) return could_not(apart.error());
  }
  auto device = open_alone(wish.path, world);
  if (!device) return could_not(device.error());
  spare.device = std::move(*device);
  if (!there && !spare.file.is_it(spare.device->native_handle())) {
    return could_not(
        {Errc::permission, 0,
         fmt::format("somebody else has put another file there, {}, use a folder that is yours", wish.path)});
  }
  const DeviceGeometry& geometry = spare.device->geometry();
  if (wish.block_size < geometry.logical_block) {
    return could_not(
        {Errc::invalid, 0,
         fmt::format("block size {} is below the spare's own of {}, {}, use a larger one for the volume or "
                     "another spare",
                     wish.block_size, geometry.logical_block, wish.path)});
  }
  if (store::slots_for(geometry.size, wish.block_size) == 0) return too_small(geometry.size.value());
  if (there) {
    if (auto fit = check_existing(wish, *spare.device); !fit) return could_not(fit.error());
  }
  return spare;
}

Result<SpareInfo> prepare_spare(const std::string& map_path, const VolumeInfo& volume, SpareDevice& spare) {
  const auto highest = highest_spare(map_path);
  if (!highest) return fail(highest.error());
  if (*highest == 255) {
    return fail(Errc::invalid, fmt::format("the volume has had 255 spares, {}, make a new volume", map_path));
  }
  const auto superblock = store::design_spare(volume, static_cast<SpareId>(*highest + 1), *spare.device);
  if (!superblock) return fail(superblock.error());
  if (auto made = store::initialise_spare(*spare.device, *superblock, spare.file.made()); !made) {
    return fail(made.error());
  }
  return spare_of(*superblock, spare.device->name());
}

Result<void> check_stands_apart(const std::string& path, std::string_view what, const std::string& mount_point,
                                const KernelViews& views) {
  std::error_code unresolved;
  const std::string real = std::filesystem::weakly_canonical(path, unresolved).string();
  if (!stands_on_disk(unresolved ? path : real, mount_point, views)) return {};
  return fail(Errc::invalid,
              fmt::format("the {} would be on the volume's own disk, {}, use another place", what, path));
}

Result<NewSpare> open_prepared_spare(const std::string& path, const VolumeInfo& volume, const KernelViews& views) {
  DeviceOptions how;
  how.views = views;
  auto device = open_device(path, how);
  if (!device) return fail(device.error());
  const auto copies = store::read_superblocks(**device);
  const auto& superblock = copies[store::Copy::a];
  if (!copies.agree() || superblock->volume.to_string() != volume.uuid) {
    return fail(Errc::foreign,
                fmt::format("not made ready to be a spare of this volume, {}, use remapfs spare add", path));
  }
  const auto identity = identify_device((*device)->native_handle(), views);
  if (!identity) return fail(identity.error());
  NewSpare spare{spare_of(*superblock, path), to_line(*identity), {}};
  spare.device = std::make_unique<MemberDevice>(std::move(*device));
  return spare;
}

}  // namespace remapfs::cli
