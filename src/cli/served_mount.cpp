// SPDX-License-Identifier: Apache-2.0
#include "cli/served_mount.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>

#include <cerrno>
#include <utility>

#include "io/busy_users.hpp"

namespace remapfs::cli {

ServedMount::ServedMount(MountRecord record, MountDescriptors descriptors)
    : record_(std::move(record)), descriptors_(std::move(descriptors)) {}

Result<ServedMount> ServedMount::make(const ServiceSpec& spec, unsigned workers) {
  fuse::MountOptions how;
  how.source = spec.map_path;
  how.read_only = spec.settings.read_only;
  how.allow_other = spec.settings.allow_other;
  how.extra = spec.settings.passed_on;
  auto channel = fuse::mount_fuse(spec.mount_point, how);
  if (!channel) return fail(channel.error());
  auto clones = fuse::clone_descriptors(channel->descriptor, workers);
  if (!clones) {
    channel->descriptor.reset();
    std::ignore = fuse::unmount_fuse(channel->mount_point);
    return fail(clones.error());
  }
  MountRecord record{spec, channel->root, channel->mount_point, channel->connection, clones->cloned, {}};
  return ServedMount(std::move(record), {std::move(channel->descriptor), std::move(clones->workers)});
}

std::vector<int> ServedMount::descriptors() const {
  std::vector<int> all{descriptors_.channel.get()};
  for (const UniqueFd& worker : descriptors_.workers) all.push_back(worker.get());
  return all;
}

Result<fuse::TransportDescriptors> ServedMount::for_transport() const {
  fuse::TransportDescriptors copies;
  copies.cloned = record_.cloned;
  copies.init = record_.init;
  for (const UniqueFd& worker : descriptors_.workers) {
    UniqueFd copy(::fcntl(worker.get(), F_DUPFD_CLOEXEC, 3));
    if (!copy)
      return fail(Errc::no_memory, "no file descriptors left for workers, this process, raise the limit", errno);
    copies.workers.push_back(std::move(copy));
  }
  return copies;
}

std::vector<fuse::MountEntry> ServedMount::mounts() const {
  if (!record_.connection) {
    const auto entry = fuse::find_mount(record_.mount_point);
    return entry && *entry ? std::vector{**entry} : std::vector<fuse::MountEntry>{};
  }
  auto mounts = fuse::mounts_of_device(0, *record_.connection);
  return mounts ? std::move(*mounts) : std::vector<fuse::MountEntry>{};
}

Result<void> ServedMount::unmount(const KernelViews& views) {
  const auto mounts = this->mounts();
  mounted_ = !mounts.empty();  // somebody else may have taken it away
  if (!mounted_) return {};
  if (mounts.size() > 1) {
    return fail(Errc::busy, fmt::format("mounted in a second place, {}, unmount that first", mounts.back().mount_point),
                EBUSY);
  }
  const std::string& where = mounts.front().mount_point;  // a folder above it may have been renamed
  const auto on_top = fuse::find_mount(where);
  if (on_top && *on_top && (*on_top)->device_minor != mounts.front().device_minor) {
    return fail(Errc::busy,
                fmt::format("something is mounted over it, {} ({}), unmount that first", where, (*on_top)->source),
                EBUSY);
  }
  auto unmounted = fuse::unmount_fuse(where);
  // Somebody else took it away (perhaps lazily): what is left are the users of open files, whom we serve to the end.
  if (unmounted || unmounted.error().code == Errc::not_found) {
    mounted_ = false;
    return {};
  }
  if (unmounted.error().code != Errc::busy) return unmounted;
  const std::string users = describe(busy_users(where, views));
  return fail(Errc::busy,
              fmt::format("in use, {} ({}), close it and try again", where,
                          users.empty() ? "by somebody who cannot be seen from here" : users),
              EBUSY);
}

void ServedMount::close_descriptors() { descriptors_ = {}; }

Result<void> ServedMount::unmount_dead() {
  const auto mounts = this->mounts();
  if (!mounted_ || mounts.empty()) return {};
  return fuse::unmount_fuse(mounts.front().mount_point);
}

bool ServedMount::connection_ended() const {
  pollfd connection{descriptors_.channel.get(), 0, 0};
  return ::poll(&connection, 1, 0) == 1 && (connection.revents & POLLERR) != 0;
}

}  // namespace remapfs::cli
