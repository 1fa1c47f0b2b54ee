// SPDX-License-Identifier: Apache-2.0
#include "cli/loop_device.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/loop.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include "core/unique_fd.hpp"
#include "io/busy_users.hpp"

namespace remapfs::cli {
namespace {

// Each try loses a race against one other process that sets up loop devices; more than this many is not a race.
constexpr int kAttachTries = 64;
constexpr int kPollMs = 10;

Error loop_error(std::string_view what, const std::string& where, int error) {
  const Errc code = error == EACCES || error == EPERM ? Errc::permission
                    : error == EBUSY                  ? Errc::busy
                                                      : Errc::device_other;
  const char* const advice = code == Errc::permission ? "use sudo" : "see losetup --list and dmesg";
  return {code, error, fmt::format("{}, {} ({}), {}", what, where, std::strerror(error), advice)};
}

std::optional<SysfsBlockDevice> find_loop(const std::string& device, const KernelViews& views) {
  struct stat info {};
  if (::stat(device.c_str(), &info) != 0 || !S_ISBLK(info.st_mode)) return std::nullopt;
  const auto found = SysfsBlockDevice::find(info.st_rdev, views);
  if (!found || !found->disk().kernel_name().starts_with("loop")) return std::nullopt;
  return found->disk();
}

// True when the device has let go of its file. Its own status says so first, sysfs when the file is being closed.
bool is_free(const std::string& device, const KernelViews& views) {
  const UniqueFd fd(::open(device.c_str(), O_RDONLY | O_CLOEXEC));
  loop_info64 info{};
  const bool unbound = fd && ::ioctl(fd.get(), LOOP_GET_STATUS64, &info) != 0 && errno == ENXIO;
  const auto loop = find_loop(device, views);
  return unbound && (!loop || !loop->loop_backing());
}

}  // namespace

Result<LoopAttachment> attach_loop(const std::string& path, const LoopOptions& options) {
  const UniqueFd control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
  if (!control) return fail(loop_error("cannot set up loop devices", "/dev/loop-control", errno));
  const UniqueFd file(::open(path.c_str(), (options.read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC));
  if (!file) return fail(loop_error("cannot open the disk for a loop device", path, errno));

  loop_config config{};
  config.fd = static_cast<__u32>(file.get());
  config.block_size = options.sector_size;
  config.info.lo_flags = LO_FLAGS_DIRECT_IO;
  if (options.read_only) config.info.lo_flags |= LO_FLAGS_READ_ONLY;
  if (options.scan_partitions) config.info.lo_flags |= LO_FLAGS_PARTSCAN;
  path.copy(reinterpret_cast<char*>(config.info.lo_file_name), LO_NAME_SIZE - 1);

  for (int attempt = 0; attempt < kAttachTries; ++attempt) {
    const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) return fail(loop_error("no loop device is free", "/dev/loop-control", errno));
    LoopAttachment attachment{fmt::format("/dev/loop{}", number), true};
    const UniqueFd loop(::open(attachment.device.c_str(), (options.read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC));
    if (!loop) return fail(loop_error("cannot open the loop device", attachment.device, errno));
    if (::ioctl(loop.get(), LOOP_CONFIGURE, &config) == 0) {
      loop_info64 info{};
      if (::ioctl(loop.get(), LOOP_GET_STATUS64, &info) == 0) {
        attachment.direct = (info.lo_flags & LO_FLAGS_DIRECT_IO) != 0;
      }
      return attachment;
    }
    if (errno != EBUSY) return fail(loop_error("cannot set up the loop device", attachment.device, errno));
  }
  return fail(loop_error("no loop device stays free", "/dev/loop-control", EBUSY));
}

std::vector<std::string> loops_over(const std::vector<std::string>& paths, const KernelViews& views) {
  std::vector<std::string> devices;
  for (const SysfsBlockDevice& disk : all_disks(views)) {
    const auto backing = disk.loop_backing();
    if (backing && std::find(paths.begin(), paths.end(), backing->path) != paths.end()) {
      devices.push_back(views.dev + "/" + disk.kernel_name());
    }
  }
  return devices;
}

Result<std::string> file_below_loop(const std::string& device, const KernelViews& views) {
  const auto loop = find_loop(device, views);
  if (!loop) return fail(Errc::invalid, fmt::format("not a loop device, {}, name one from losetup --list", device));
  const auto backing = loop->loop_backing();
  if (!backing) return fail(Errc::not_found, fmt::format("nothing is attached to it, {}, see losetup --list", device));
  return backing->path;
}

Result<std::optional<Error>> detach_loop(const std::string& device, std::chrono::milliseconds patience,
                                         const KernelViews& views) {
  std::optional<Error> unsynced;
  {
    // O_EXCL of the whole disk fails while anything holds it or a partition, and keeps new mounts away until we close.
    UniqueFd loop(::open(device.c_str(), O_RDONLY | O_CLOEXEC | O_EXCL));
    // A file system may let go of its device a moment after umount has returned.
    const auto released_by = std::chrono::steady_clock::now() + std::chrono::seconds(2);
    while (!loop) {
      if (errno != EBUSY) return fail(loop_error("cannot open the loop device", device, errno));
      const std::string users = describe(holders_of(device, views));
      if (!users.empty() || std::chrono::steady_clock::now() >= released_by) {
        return fail(Errc::busy,
                    fmt::format("in use, {} ({}), unmount what is on it first", device,
                                users.empty() ? "mounted or held by the kernel" : users),
                    EBUSY);
      }
      ::poll(nullptr, 0, kPollMs);
      loop = UniqueFd(::open(device.c_str(), O_RDONLY | O_CLOEXEC | O_EXCL));
    }
    if (::fsync(loop.get()) != 0) {
      unsynced = loop_error("detached, but what was written last is not stored", device, errno);
    }
    if (::ioctl(loop.get(), LOOP_CLR_FD) != 0 && errno != ENXIO) {
      return fail(loop_error("cannot detach the loop device", device, errno));
    }
  }
  // With another opener (udev looks at every device for a moment) the kernel takes it down at the last close.
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!is_free(device, views)) {
    if (std::chrono::steady_clock::now() >= deadline) {
      const std::string users = describe(busy_users(device, views));
      return fail(Errc::timeout, fmt::format("detached, but still open, {} ({}), close it and detach again", device,
                                             users.empty() ? "by a process that cannot be seen" : users));
    }
    ::poll(nullptr, 0, kPollMs);
  }
  return unsynced;
}

}  // namespace remapfs::cli
