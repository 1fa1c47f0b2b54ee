// SPDX-License-Identifier: Apache-2.0
#include "io/busy_users.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string_view>
#include <system_error>
#include <thread>

#include "io/member_extents.hpp"
#include "io/proc_files.hpp"

namespace remapfs {
namespace {

using namespace std::chrono_literals;

constexpr auto kPatienceWithAProcess = 500ms;

// What a path leads to, without asking a file system server that may not answer.
struct Place {
  dev_t device = 0;
  ino_t inode = 0;
  dev_t special = 0;  // of a block device
  bool directory = false;
};

std::optional<Place> place_of(const std::string& path) {
  struct statx status {};
  if (::statx(AT_FDCWD, path.c_str(), AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_TYPE | STATX_INO, &status) != 0) {
    return std::nullopt;
  }
  Place place;
  place.device = gnu_dev_makedev(status.stx_dev_major, status.stx_dev_minor);
  place.inode = status.stx_ino;
  if (S_ISBLK(status.stx_mode)) place.special = gnu_dev_makedev(status.stx_rdev_major, status.stx_rdev_minor);
  place.directory = S_ISDIR(status.stx_mode);
  return place;
}

bool touches(const Place& used, const Place& target) {
  if (target.directory) return used.device == target.device;
  if (target.special != 0) return used.special == target.special;
  return used.device == target.device && used.inode == target.inode;
}

// Mappings outlive their descriptor. A line is "from-to rwxp offset major:minor inode path", device numbers in hex.
bool maps(const std::string& process, const Place& target) {
  const std::optional<std::string> text = read_text_file(process + "/maps");
  if (!text) return false;
  char device[24];
  std::snprintf(device, sizeof device, "%02x:%02x", gnu_dev_major(target.device), gnu_dev_minor(target.device));
  const std::string inode = std::to_string(target.inode);
  for (const std::string_view line : split(*text, '\n')) {
    const auto words = split(line, ' ');
    if (words.size() < 6 || words[3] != device) continue;
    if (target.directory || words[4] == inode) return true;
  }
  return false;
}

bool opens(const std::string& process, const Place& target) {
  for (const char* link : {"/cwd", "/root", "/exe"}) {
    if (const auto place = place_of(process + link); place && touches(*place, target)) return true;
  }
  for (const std::string& fd : list_directory(process + "/fd")) {
    if (const auto place = place_of(process + "/fd/" + fd); place && touches(*place, target)) return true;
  }
  return false;
}

// Of some processes those that map the target. Asking for a process's mappings waits for its exec() and its page
// faults, which may wait for a file system that does not answer: a thread asks, and is left behind when it gets stuck.
// The process at which it does counts as a user, since it most likely waits for the target.
std::set<std::string> mapping_processes(std::vector<std::string> pids, const Place& target, const KernelViews& views) {
  struct Search {
    std::mutex mutex;
    std::condition_variable moved;
    std::size_t looked_at = 0;
    std::set<std::string> found;
  };
  const auto search = std::make_shared<Search>();
  const auto look = [search, pids, target, proc = views.proc] {
    for (const std::string& pid : pids) {
      const bool there = maps(proc + "/" + pid, target);
      const std::lock_guard lock(search->mutex);
      if (there) search->found.insert(pid);
      ++search->looked_at;
      search->moved.notify_one();
    }
  };
  try {
    std::thread(look).detach();
  } catch (const std::system_error&) {
    return {};  // no thread to be had: better to name nobody than to wait for ever
  }

  std::unique_lock lock(search->mutex);
  std::size_t seen = 0;
  while (seen < pids.size()) {
    if (!search->moved.wait_for(lock, kPatienceWithAProcess, [&] { return search->looked_at > seen; })) break;
    seen = search->looked_at;
  }
  std::set<std::string> found = search->found;
  lock.unlock();
  if (seen == pids.size()) return found;
  found.insert(pids[seen]);
  pids.erase(pids.begin(), pids.begin() + static_cast<std::ptrdiff_t>(seen) + 1);
  found.merge(mapping_processes(std::move(pids), target, views));
  return found;
}

bool uses(const std::string& pid, const Place& target, const KernelViews& views) {
  return opens(views.proc + "/" + pid, target) || !mapping_processes({pid}, target, views).empty();
}

std::vector<BusyUser> loops_on(const Place& target, const KernelViews& views) {
  std::vector<BusyUser> found;
  for (const SysfsBlockDevice& disk : all_disks(views)) {
    const auto backing = disk.loop_backing();
    if (!backing) continue;
    const auto place = place_of(backing->path);
    if (place && touches(*place, target)) found.push_back({"/dev/" + disk.kernel_name(), 0});
  }
  return found;
}

std::string command_of(const std::string& pid, const KernelViews& views) {
  return read_attribute(views.proc + "/" + pid + "/comm").value_or("a process");
}

void add(std::vector<BusyUser>& users, BusyUser user) {
  if (std::find(users.begin(), users.end(), user) == users.end()) users.push_back(std::move(user));
}

// Owners of locks in /proc/locks: "1: FLOCK  ADVISORY  WRITE 123 08:02:456 0 EOF", device numbers in hex.
std::vector<BusyUser> lock_owners(const Place& target, const KernelViews& views) {
  std::vector<BusyUser> found;
  const std::string text = read_text_file(views.proc + "/locks").value_or("");
  char device[24];
  std::snprintf(device, sizeof device, "%02x:%02x:", gnu_dev_major(target.device), gnu_dev_minor(target.device));
  const std::string inode = std::to_string(target.inode);
  for (const std::string_view line : split(text, '\n')) {
    const auto words = split(line, ' ');
    if (words.size() < 6 || words[1] != "FLOCK" || !words[5].ends_with(":" + inode)) continue;
    const std::string pid(words[4]);
    const auto number = parse_decimal(pid);
    if (!number || *number == 0) continue;
    // btrfs puts another device number here than into stat(): there the owner has to have the file open.
    if (words[5] == device + inode || uses(pid, target, views))
      add(found, {command_of(pid, views), static_cast<pid_t>(*number)});
  }
  return found;
}

}  // namespace

std::vector<BusyUser> busy_users(const std::string& path, const KernelViews& views) {
  std::vector<BusyUser> users;
  const std::optional<Place> target = place_of(path);
  if (!target) return users;
  const std::string self = std::to_string(::getpid());
  std::set<std::string> found;
  std::vector<std::string> others;
  for (const std::string& pid : list_directory(views.proc)) {
    if (!parse_decimal(pid) || pid == self) continue;
    if (opens(views.proc + "/" + pid, *target)) {
      found.insert(pid);
    } else {
      others.push_back(pid);
    }
  }
  found.merge(mapping_processes(std::move(others), *target, views));
  for (const std::string& pid : found) {
    users.push_back({command_of(pid, views), static_cast<pid_t>(*parse_decimal(pid))});
  }
  for (BusyUser& loop : loops_on(*target, views)) users.push_back(std::move(loop));
  return users;
}

std::vector<BusyUser> holders_of(const std::string& path, const KernelViews& views) {
  const std::optional<Place> target = place_of(path);
  if (!target) return {};
  std::vector<BusyUser> users = lock_owners(*target, views);
  if (target->special == 0) return users;
  const auto extents = member_extents(path, views);
  if (extents) {
    for (const Claim& claim : kernel_claims(*extents, views)) add(users, {claim.text, 0});
  }
  return users;
}

std::string describe(const std::vector<BusyUser>& users) {
  std::string text;
  for (const BusyUser& user : users) {
    if (!text.empty()) text += ", ";
    text += user.what;
    if (user.pid != 0) text += " (pid " + std::to_string(user.pid) + ")";
  }
  return text;
}

}  // namespace remapfs
