// SPDX-License-Identifier: Apache-2.0
#include "io/member_extents.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <optional>
#include <set>
#include <string_view>

#include "io/errno_class.hpp"
#include "io/proc_files.hpp"

namespace remapfs {
namespace {

constexpr std::uint64_t kEnd = std::numeric_limits<std::uint64_t>::max();
// More layers than anybody stacks; ends the walk should sysfs ever show a circle.
constexpr int kMaxLayers = 16;

std::uint64_t add_clamped(std::uint64_t a, std::uint64_t b) { return a > kEnd - b ? kEnd : a + b; }

void add_device(dev_t number, std::uint64_t begin, std::uint64_t end, const KernelViews& views, int layers,
                std::vector<Extent>& out);

void add_file_or_device(const std::string& path, std::uint64_t begin, std::uint64_t end, const KernelViews& views,
                        int layers, std::vector<Extent>& out) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return;
  if (S_ISBLK(status.st_mode)) {
    add_device(status.st_rdev, begin, end, views, layers, out);
  } else {
    out.push_back({status.st_dev, status.st_ino, begin, end});
  }
}

void add_device(dev_t number, std::uint64_t begin, std::uint64_t end, const KernelViews& views, int layers,
                std::vector<Extent>& out) {
  const auto device = SysfsBlockDevice::find(number, views);
  if (!device) {
    out.push_back({number, 0, begin, end});
    return;
  }
  const SysfsBlockDevice disk = device->disk();
  if (device->is_partition()) {
    end = std::min(end, device->size());
    begin = add_clamped(begin, device->start());
    end = add_clamped(end, device->start());
  }
  out.push_back({disk.number(), 0, begin, end});
  if (layers == 0) return;
  if (const auto backing = disk.loop_backing()) {
    const std::uint64_t limit = backing->limit == 0 ? kEnd : backing->limit;
    add_file_or_device(backing->path, add_clamped(begin, backing->offset),
                       add_clamped(std::min(end, limit), backing->offset), views, layers - 1, out);
  }
  // Where a mapped device's bytes lie is its driver's business: all of what it is made of.
  for (const SysfsBlockDevice& slave : disk.slaves()) add_device(slave.number(), 0, kEnd, views, layers - 1, out);
}

bool contains_disk(const std::vector<Extent>& extents, dev_t device) {
  return std::any_of(extents.begin(), extents.end(),
                     [device](const Extent& extent) { return extent.inode == 0 && extent.device == device; });
}

// A line of mountinfo: "36 35 98:0 /root /mount/point options - fstype /dev/source superoptions", where optional
// fields may come before the dash. File systems of several devices have a number of their own there, so the source
// is looked at too.
void add_mounts(const std::vector<Extent>& member, const KernelViews& views, std::vector<Claim>& claims) {
  const std::string text = read_text_file(views.proc + "/self/mountinfo").value_or("");
  for (const std::string_view line : split(text, '\n')) {
    const auto words = split(line, ' ');
    constexpr std::ptrdiff_t kFixed = 6;
    if (words.size() < kFixed) continue;
    const auto dash = std::find(words.begin() + kFixed, words.end(), "-");
    if (std::distance(dash, words.end()) < 3) continue;
    std::vector<Extent> source;
    if (const auto number = parse_device_number(std::string(words[2])); number && !words[2].starts_with("0:")) {
      source = device_extents(*number, views);
    }
    const std::string source_path = unescape_octal(dash[2]);
    if (source_path.starts_with("/dev/")) {
      struct stat status {};
      if (::stat(source_path.c_str(), &status) == 0 && S_ISBLK(status.st_mode)) {
        const auto more = device_extents(status.st_rdev, views);
        source.insert(source.end(), more.begin(), more.end());
      }
    }
    if (overlap(source, member)) claims.push_back({"mounted on " + unescape_octal(words[4]), "unmount it first"});
  }
}

void add_swaps(const std::vector<Extent>& member, const KernelViews& views, std::vector<Claim>& claims) {
  const std::string text = read_text_file(views.proc + "/swaps").value_or("");
  for (const std::string_view line : split(text, '\n')) {
    const auto words = split(line, ' ');
    if (words.empty() || !words[0].starts_with("/")) continue;
    const std::string path = unescape_octal(split(words[0], '\t').front());
    if (const auto swap = member_extents(path, views); swap && overlap(*swap, member)) {
      claims.push_back({"swap on " + path, "run swapoff first"});
    }
  }
}

}  // namespace

bool overlap(const std::vector<Extent>& a, const std::vector<Extent>& b) {
  return std::any_of(a.begin(), a.end(), [&b](const Extent& one) {
    return std::any_of(b.begin(), b.end(), [&one](const Extent& other) { return one.overlaps(other); });
  });
}

std::vector<Extent> device_extents(dev_t device, const KernelViews& views) {
  std::vector<Extent> extents;
  add_device(device, 0, kEnd, views, kMaxLayers, extents);
  return extents;
}

Result<std::vector<Extent>> member_extents(const std::string& path, const KernelViews& views) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    const int error = errno;
    return fail(classify_open_errno(error),
                "cannot examine, " + path + ": " + std::strerror(error) + ", check the path", error);
  }
  if (!S_ISBLK(status.st_mode) && !S_ISREG(status.st_mode)) {
    return fail(Errc::invalid, "neither a file nor a block device, " + path + ", give the path of one");
  }
  std::vector<Extent> extents;
  add_file_or_device(path, 0, kEnd, views, kMaxLayers, extents);
  return extents;
}

std::vector<Claim> kernel_claims(const std::vector<Extent>& member, const KernelViews& views) {
  std::vector<Claim> claims;
  add_mounts(member, views, claims);
  add_swaps(member, views, claims);
  for (const SysfsBlockDevice& disk : all_disks(views)) {
    // A member that is this loop device, or on it, is above it.
    const bool below = !contains_disk(member, disk.number());
    if (below && disk.loop_backing() && overlap(device_extents(disk.number(), views), member)) {
      claims.push_back({"/dev/" + disk.kernel_name(), "detach it first (losetup -d /dev/" + disk.kernel_name() + ")"});
    }
    std::vector<SysfsBlockDevice> parts = disk.partitions();
    parts.push_back(disk);
    for (const SysfsBlockDevice& part : parts) {
      const std::vector<std::string> holders = part.holders();
      if (holders.empty() || !overlap(device_extents(part.number(), views), member)) continue;
      for (const std::string& holder : holders) {
        const auto number = parse_device_number(read_attribute(views.sys + "/block/" + holder + "/dev").value_or(""));
        // As with loop devices: a mapped device holds what it is made of.
        if (number && contains_disk(member, *number)) continue;
        claims.push_back({"/dev/" + holder, "stop that device first"});
      }
    }
  }
  return claims;
}

}  // namespace remapfs
