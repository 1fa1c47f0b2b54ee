// SPDX-License-Identifier: Apache-2.0
#include "io/busy_users.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <string_view>

#include "io/member_extents.hpp"
#include "io/proc_files.hpp"

namespace remapfs {
namespace {

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

bool uses(const std::string& process, const Place& target) {
  for (const char* link : {"/cwd", "/root", "/exe"}) {
    if (const auto place = place_of(process + link); place && touches(*place, target)) return true;
  }
  for (const std::string& fd : list_directory(process + "/fd")) {
    if (const auto place = place_of(process + "/fd/" + fd); place && touches(*place, target)) return true;
  }
  return maps(process, target);
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
    if (words[5] == device + inode || uses(views.proc + "/" + pid, target))
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
  for (const std::string& pid : list_directory(views.proc)) {
    const auto number = parse_decimal(pid);
    if (!number || pid == self || !uses(views.proc + "/" + pid, *target)) continue;
    users.push_back({command_of(pid, views), static_cast<pid_t>(*number)});
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
