// SPDX-License-Identifier: Apache-2.0
#include "cli/reach.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <thread>

#include "cli/map_view.hpp"
#include "cli/process.hpp"
#include "store/map_lock.hpp"

namespace remapfs::cli {
namespace {

using namespace std::chrono_literals;

// A daemon that crashed is replaced within milliseconds, on a loaded machine within a second.
constexpr auto kRestart = 2s;
constexpr auto kLookAgain = 20ms;
constexpr auto kOutOfSight = 15s;

// True when `other` exists and is another file than `path`: a map that was moved while mounted is no copy.
bool is_other_file(const std::string& path, const std::string& other) {
  struct stat a {};
  struct stat b {};
  if (::stat(path.c_str(), &a) != 0 || ::stat(other.c_str(), &b) != 0) return false;
  return a.st_dev != b.st_dev || a.st_ino != b.st_ino;
}

// True while somebody holds the map. The mount itself cannot tell: the kernel answers for a dead one from its caches,
// and asking a hung one would hang.
bool is_held(const std::string& map_path) {
  const auto lock = store::MapLock::acquire(map_path, /*read_only=*/true);
  return !lock && lock.error().code == Errc::busy;
}

// Nothing when nobody listens.
Result<std::optional<Daemon>> ask(const std::vector<std::string>& sockets, const Target& target) {
  std::optional<Error> refused;
  for (const std::string& path : sockets) {
    auto client = ControlClient::connect({&path, 1});
    if (!client) {
      if (client.error().code != Errc::not_found) refused = client.error();
      continue;
    }
    auto status = client->status();
    if (!status && status.error().code == Errc::device_other) continue;  // killed while it was asked
    if (!status) return fail(status.error());
    if (const std::string served = status->value("map", ""); is_other_file(target.map_path, served)) {
      return fail(Errc::busy, fmt::format("another copy of this map is mounted, {}, use that one", served));
    }
    return Daemon(path, std::move(*status));
  }
  if (refused) return fail(std::move(*refused));
  return std::nullopt;
}

}  // namespace

std::string Daemon::mount_point() const {
  const auto found = status_.find("mountpoint");
  return found != status_.end() && found->is_string() ? found->get<std::string>() : std::string();
}

bool Daemon::suspended() const {
  const auto found = status_.find("suspended");
  return found != status_.end() && found->is_boolean() && found->get<bool>();
}

bool OutOfSight::for_good(bool seen) {
  const auto now = std::chrono::steady_clock::now();
  if (seen) {
    since_.reset();
  } else if (!since_) {
    since_ = now;
  }
  return since_ && now - *since_ > kOutOfSight;
}

Result<std::optional<Daemon>> find_daemon(const Target& target, const World& world) {
  const auto info = read_map_info(target.map_path);
  if (!info) return fail(info.error());
  const uid_t owner = target.mount ? target.mount->owner : world.uid;
  const auto sockets = socket_candidates(info->uuid, world.uid, world.xdg_runtime_dir, owner);
  const auto deadline = std::chrono::steady_clock::now() + kRestart;
  for (;;) {
    auto daemon = ask(sockets, target);
    if (!daemon || *daemon) return daemon;
    if (!target.mount) return std::nullopt;
    if (std::chrono::steady_clock::now() >= deadline) break;
    std::this_thread::sleep_for(kLookAgain);
  }
  if (is_held(target.map_path)) {
    return fail(Errc::transport,
                fmt::format("its daemon cannot be found, {}, use the XDG_RUNTIME_DIR it was mounted with, or umount",
                            target.mount->mount_point));
  }
  return fail(Errc::device_gone,
              fmt::format("the daemon of this mount is gone, {}, run remapfs unmount --force, then mount again",
                          target.mount->mount_point));
}

bool is_connected(const std::string& mount_point) {
  // Whoever asks may wait for the answer, which nothing but a signal ends.
  const pid_t child = ::fork();
  if (child < 0) return true;
  if (child == 0) {
    struct statfs answer {};
    ::_exit(::statfs(mount_point.c_str(), &answer) != 0 && errno == ENOTCONN ? 1 : 0);
  }
  const UniqueFd process = open_process(child);
  if (!process || !has_ended(process, kRestart)) ::kill(child, SIGKILL);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return !WIFEXITED(status) || WEXITSTATUS(status) == 0;
}

}  // namespace remapfs::cli
