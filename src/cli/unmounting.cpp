// SPDX-License-Identifier: Apache-2.0
#include "cli/unmounting.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <vector>

#include "cli/loop_device.hpp"
#include "cli/map_view.hpp"
#include "cli/process.hpp"
#include "cli/run_program.hpp"
#include "cli/udev_notice.hpp"
#include "core/unique_fd.hpp"
#include "fuse/mount_point.hpp"
#include "store/map_lock.hpp"

extern char** environ;

namespace remapfs::cli {
namespace {

// The daemon answers when the last flush is through, which a failing disk may draw out.
constexpr auto kAnswerPatience = std::chrono::minutes(10);
constexpr auto kExitPatience = std::chrono::seconds(30);
constexpr int kPollMs = 20;

// Every request that waits, and every later one, is answered with an error by the kernel. False when it cannot be told.
bool break_connection(const std::string& number, const World& world) {
  const std::string path = fmt::format("{}/fs/fuse/connections/{}/abort", world.views.sys, number);
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  return file && ::write(file.get(), "1", 1) == 1;
}

// "0:47" -> the number of the connection, which is the minor device number of the mount.
std::string connection_of(const MountEntry& mount) {
  const std::size_t colon = mount.device.find(':');
  return colon == std::string::npos ? "" : mount.device.substr(colon + 1);
}

std::string connection_of(const Daemon& daemon) {
  const auto transport = daemon.status().find("transport");
  return transport == daemon.status().end() ? "" : transport->value("connection", nlohmann::ordered_json()).dump();
}

// Everywhere it is mounted, as far as we see, in the order that it was.
std::vector<MountEntry> mounts_of_connection(const std::string& connection, const World& world) {
  std::vector<MountEntry> mounts = all_mounts(world.views);
  std::erase_if(mounts, [&](const MountEntry& one) { return !one.is_ours() || connection_of(one) != connection; });
  return mounts;
}

// Its end would be that of a loop device, too, by whichever of its paths that was attached.
Result<void> check_no_loop(const std::string& where, const std::vector<MountEntry>& mounts, const World& world) {
  std::vector<std::string> disks;
  for (const MountEntry& mount : mounts) {
    for (std::string& path : mount.possible_disk_paths()) disks.push_back(std::move(path));
  }
  const auto loops = loops_over(disks, world.views);
  if (loops.empty()) return {};
  return fail(Errc::busy,
              fmt::format("a loop device is attached, {} ({}), run remapfs detach or losetup --detach first", where,
                          fmt::join(loops, ", ")));
}

Result<void> detach(const std::string& mount_point) {
  if (::umount2(mount_point.c_str(), MNT_FORCE | MNT_DETACH | UMOUNT_NOFOLLOW) == 0) return {};
  return fail(Errc::device_other,
              fmt::format("cannot unmount it, {} ({}), see dmesg", mount_point, std::strerror(errno)), errno);
}

Result<void> detach_as_user(const std::string& mount_point) {
  std::vector<std::string> words{"fusermount3", "-u", "-z", "-q", "--", mount_point};
  const std::vector<char*> argv = argv_of(words);
  pid_t child = -1;
  int status = 0;
  const int error = ::posix_spawnp(&child, argv[0], nullptr, nullptr, argv.data(), environ);
  if (error == 0) {
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
  }
  if (error == 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  return fail(Errc::permission,
              fmt::format("fusermount3 cannot unmount it, {}, ask its owner or use sudo", mount_point));
}

// The process that keeps the mount's descriptors, as a pidfd; none when it cannot be seen from here.
UniqueFd keeper_of(const Daemon& daemon) {
  const auto pid = daemon.status().value("daemon_pid", nlohmann::ordered_json());
  if (!pid.is_number_integer()) return {};
  return open_process(pid.get<pid_t>());
}

void wait_for_end(const UniqueFd& process) {
  if (process) std::ignore = has_ended(process, kExitPatience);
}

// Waits until nobody holds the map: a daemon that was not asked says nothing when it is done.
Result<Outcome> wait_until_closed(const std::string& map_path) {
  const auto deadline = std::chrono::steady_clock::now() + kExitPatience;
  for (;;) {
    const auto lock = store::MapLock::acquire(map_path, /*read_only=*/true);
    if (lock || lock.error().code != Errc::busy) return Outcome::done;
    if (std::chrono::steady_clock::now() >= deadline) {
      return fail(Errc::timeout,
                  fmt::format("unmounted, but the map is still open, {}, look at the system log", map_path));
    }
    ::poll(nullptr, 0, kPollMs);
  }
}

}  // namespace

Result<void> unmount_in_order(const Daemon& daemon) {
  auto client = daemon.connect();
  if (!client) return fail(client.error());
  const UniqueFd keeper = keeper_of(daemon);
  const auto completion = client->ask({Verb::unmount, {}}, {}, kAnswerPatience);
  if (!completion) return fail(completion.error());
  if (!completion->result) return fail(completion->result.error());
  if (!client->wait_for_exit(kExitPatience)) {
    return fail(Errc::timeout,
                fmt::format("unmounted, but the daemon has not ended, process {}, look at the system log",
                            client->daemon_pid()));
  }
  // It follows the one that served at once.
  wait_for_end(keeper);
  return {};
}

Result<void> unmount_by_force(const MountEntry& mount, const World& world) {
  const auto same = mounts_of_connection(connection_of(mount), world);
  if (auto free = check_no_loop(mount.mount_point, same, world); !free) return free;
  const auto mounts = all_mounts(world.views);
  const auto on_top = std::find_if(mounts.rbegin(), mounts.rend(),
                                   [&](const MountEntry& entry) { return entry.mount_point == mount.mount_point; });
  if (on_top != mounts.rend() && on_top->device != mount.device) {
    return fail(Errc::busy, fmt::format("something is mounted over it, {} ({}), unmount that first", mount.mount_point,
                                        on_top->source));
  }
  break_connection(connection_of(mount), world);
  auto detached = world.uid != 0 ? detach_as_user(mount.mount_point) : detach(mount.mount_point);
  if (detached) return {};
  // Its daemon takes it away, too, when the connection has ended.
  const auto left = mounts_of_connection(connection_of(mount), world);
  const auto is_it = [&](const MountEntry& entry) { return entry.mount_point == mount.mount_point; };
  return std::any_of(left.begin(), left.end(), is_it) ? detached : Result<void>();
}

Result<Outcome> unmount(const Target& target, bool force, const World& world) {
  auto daemon = find_daemon(target, world);
  if (daemon && !*daemon) return Outcome::already;
  Result<void> unmounted;
  if (daemon) {
    unmounted = unmount_in_order(**daemon);
    if (unmounted) return Outcome::done;
    if (!force || unmounted.error().code != Errc::busy) return fail(unmounted.error());
  } else if (!target.mount) {
    return fail(daemon.error());
  } else if (!force) {
    if (daemon.error().code == Errc::device_gone || daemon.error().code == Errc::timeout) return fail(daemon.error());
    // The daemon cannot be asked, or the map that names its socket is unreadable: the daemon also ends in order when
    // the mount is taken away.
    unmounted = fuse::unmount_fuse(target.mount->mount_point);
    if (!unmounted) return fail(unmounted.error());
    auto closed = wait_until_closed(target.map_path);
    const Errc why = daemon.error().code;
    if (!closed || why == Errc::transport || why == Errc::permission || why == Errc::busy) return closed;
    return fail(Errc::store, fmt::format("unmounted, but its map cannot be read any more ({}), put it back",
                                         describe(daemon.error())));
  }

  std::optional<ControlClient> watcher;
  UniqueFd keeper;
  if (daemon) {
    keeper = keeper_of(**daemon);
    if (auto client = (*daemon)->connect()) watcher.emplace(std::move(*client));
  }
  // What the daemon was asked above may have taken the mount away from here, and left it in another mount namespace.
  // A daemon may be somebody else's: where the mount can be seen, its own number counts.
  const std::string connection = target.mount ? connection_of(*target.mount) : connection_of(**daemon);
  auto mounts = mounts_of_connection(connection, world);
  if (mounts.empty()) {
    // By the name that it had here, or none at all.
    const std::vector<MountEntry> elsewhere{{daemon ? (*daemon)->mount_point() : "", {}, {}, {}, 0}, {}};
    if (auto free = check_no_loop(elsewhere[0].mount_point, elsewhere, world); !free) return fail(free.error());
    if (!break_connection(connection, world)) return daemon ? fail(unmounted.error()) : fail(daemon.error());
  }
  const std::string mount_point = mounts.empty() ? "" : mounts.back().mount_point;
  // Bind mounts go with it.
  for (; !mounts.empty(); mounts = mounts_of_connection(connection, world)) {
    if (auto forced = unmount_by_force(mounts.back(), world); !forced) return fail(forced.error());
  }
  if (watcher && !watcher->wait_for_exit(kExitPatience)) {
    return fail(Errc::timeout,
                fmt::format("unmounted, but the daemon has not ended, process {}, look at the system log",
                            watcher->daemon_pid()));
  }
  wait_for_end(keeper);
  remove_default_mount_point(mount_point, world);
  if (const auto info = read_map_info(target.map_path)) {
    ControlClient::remove_stale_socket(socket_path(world.place, info->uuid));
    withdraw_udev_notice(world.place.directory, info->uuid, world.views);
  }
  return Outcome::done;
}

void remove_default_mount_point(const std::string& mount_point, const World& world) {
  if (mount_point.starts_with(world.place.directory + "/")) ::rmdir(mount_point.c_str());
}

}  // namespace remapfs::cli
