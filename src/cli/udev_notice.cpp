// SPDX-License-Identifier: Apache-2.0
#include "cli/udev_notice.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>

#include "core/unique_fd.hpp"
#include "io/proc_files.hpp"

namespace remapfs::cli {
namespace {

constexpr auto kPatience = std::chrono::milliseconds(2000);

Result<void> cannot_write(const std::string& path) {
  const int error = errno;
  return fail(Errc::device_other,
              fmt::format("udev is not told of this volume, {} ({}), its raw devices may be looked at by others", path,
                          std::strerror(error)),
              error);
}

// Under another name first: a rule that looks meanwhile sees all of it or nothing.
Result<void> write_file(const std::string& path, const std::string& text) {
  const std::string unfinished = path + ".new";
  const UniqueFd file(::open(unfinished.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file || ::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      ::rename(unfinished.c_str(), path.c_str()) != 0) {
    return cannot_write(path);
  }
  return {};
}

void ask_for_event(dev_t device, const KernelViews& views) {
  const std::string path = fmt::format("{}/dev/block/{}/uevent", views.sys, device_number_text(device));
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (file) [[maybe_unused]]
    const ssize_t written = ::write(file.get(), "change", 6);
}

// The disk first: what its partitions are told is taken from it.
void ask_for_events(dev_t device, const KernelViews& views) {
  ask_for_event(device, views);
  const auto known = SysfsBlockDevice::find(device, views);
  if (!known) return;
  for (const SysfsBlockDevice& partition : known->partitions()) ask_for_event(partition.number(), views);
}

std::vector<std::string> member_paths(const VolumeInfo& info) {
  std::vector<std::string> paths{info.primary_path};
  for (const SpareInfo& spare : info.spares) paths.push_back(spare.path);
  return paths;
}

std::string devices_directory(const std::string& directory) { return directory + "/devices"; }

std::string member_path(const std::string& directory, dev_t member) {
  return devices_directory(directory) + "/" + device_number_text(member);
}

// The members that a notice of this volume is posted for.
std::vector<dev_t> posted_members(const std::string& directory, const std::string& uuid) {
  std::vector<dev_t> members;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(devices_directory(directory), ignored)) {
    const auto number = parse_device_number(entry.path().filename().string());
    if (number && read_text_file(entry.path().string()) == uuid + "\n") members.push_back(*number);
  }
  return members;
}

}  // namespace

std::vector<dev_t> block_devices(const std::vector<std::string>& paths) {
  std::vector<dev_t> devices;
  for (const std::string& path : paths) {
    struct stat info {};
    if (::stat(path.c_str(), &info) == 0 && S_ISBLK(info.st_mode)) devices.push_back(info.st_rdev);
  }
  return devices;
}

std::string link_name(std::string_view label) {
  constexpr std::string_view kPlain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789#+-.:=@_";
  std::string name(label);
  for (char& c : name) {
    if (kPlain.find(c) == std::string_view::npos) c = '_';
  }
  return name.find_first_not_of('.') == std::string::npos ? "" : name;
}

Result<void> post_udev_notice(const std::string& directory, const UdevNotice& notice, const KernelViews& views) {
  const std::string devices = devices_directory(directory);
  if (::mkdir(devices.c_str(), 0755) != 0 && errno != EEXIST) return cannot_write(devices);
  // A path that would be two lines is on no line: the loop device over it then has no link.
  const std::string disk = notice.disk.find('\n') == std::string::npos ? notice.disk : "";
  auto written = write_file(
      fmt::format("{}/{}.volume", directory, notice.uuid),
      fmt::format("REMAPFS_DISK={}\nREMAPFS_UUID={}\nREMAPFS_LABEL={}\n", disk, notice.uuid, link_name(notice.label)));
  if (!written) return written;
  const std::vector<dev_t> before = posted_members(directory, notice.uuid);
  const auto has = [](const std::vector<dev_t>& list, dev_t one) {
    return std::find(list.begin(), list.end(), one) != list.end();
  };
  for (const dev_t member : before) {
    if (has(notice.members, member)) continue;
    ::unlink(member_path(directory, member).c_str());
    ask_for_events(member, views);
  }
  for (const dev_t member : notice.members) {
    if (has(before, member)) continue;
    if (written = write_file(member_path(directory, member), notice.uuid + "\n"); !written) return written;
    ask_for_events(member, views);
  }
  return {};
}

void wait_for_udev(const std::vector<dev_t>& members, std::chrono::milliseconds patience,
                   const std::string& udev_directory) {
  constexpr int kPauseMs = 10;
  if (::access((udev_directory + "/control").c_str(), F_OK) != 0) return;
  // Its database of devices has what the rules have set, one property a line.
  const auto knows = [&](dev_t member) {
    const auto entry = read_text_file(fmt::format("{}/data/b{}", udev_directory, device_number_text(member)));
    return entry && entry->find("\nE:REMAPFS_MEMBER=1\n") != std::string::npos;
  };
  const auto end = std::chrono::steady_clock::now() + patience;
  while (!std::all_of(members.begin(), members.end(), knows) && std::chrono::steady_clock::now() < end) {
    ::poll(nullptr, 0, kPauseMs);
  }
}

void withdraw_udev_notice(const std::string& directory, const std::string& uuid, const KernelViews& views) {
  for (const dev_t member : posted_members(directory, uuid)) {
    ::unlink(member_path(directory, member).c_str());
    ask_for_events(member, views);
  }
  ::unlink(fmt::format("{}/{}.volume", directory, uuid).c_str());
  ::rmdir(devices_directory(directory).c_str());
}

Result<void> UdevPost::before_devices(const VolumeInfo& info) {
  auto posted = serving(info, "");
  if (posted && world_.place.shared) wait_for_udev(block_devices(member_paths(info)), kPatience);
  return posted;
}

Result<void> UdevPost::serving(const VolumeInfo& info, const std::string& disk) {
  if (!world_.place.shared) return {};
  const MutexLock lock(mutex_);
  if (auto prepared = prepare_runtime_directory(world_.place); !prepared) return prepared;
  uuid_ = info.uuid;
  return post_udev_notice(world_.place.directory, {info.uuid, info.label, disk, block_devices(member_paths(info))},
                          world_.views);
}

void UdevPost::withdraw() {
  const MutexLock lock(mutex_);
  if (!uuid_.empty()) withdraw_udev_notice(world_.place.directory, uuid_, world_.views);
  uuid_.clear();
}

}  // namespace remapfs::cli
