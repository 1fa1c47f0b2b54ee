// SPDX-License-Identifier: Apache-2.0
#include "io/sysfs.hpp"

#include <sys/sysmacros.h>

#include <filesystem>
#include <string_view>
#include <system_error>

#include "io/proc_files.hpp"
#include "remapfs/units.hpp"

namespace remapfs {
namespace {

std::optional<std::uint64_t> read_number(const std::string& path) {
  const std::optional<std::string> text = read_attribute(path);
  return text ? parse_decimal(*text) : std::nullopt;
}

// The serial number page (0x80) of a SCSI device: four bytes of header, then text.
std::string serial_of_page(const std::string& path) {
  const std::optional<std::string> page = read_text_file(path);
  if (!page || page->size() <= 4) return {};
  const std::string_view text = std::string_view(*page).substr(4);
  const std::size_t begin = text.find_first_not_of(std::string_view(" \0", 2));
  if (begin == std::string_view::npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(std::string_view(" \n\0", 3)) - begin + 1));
}

}  // namespace

std::string device_number_text(dev_t device) {
  return std::to_string(gnu_dev_major(device)) + ":" + std::to_string(gnu_dev_minor(device));
}

std::optional<dev_t> parse_device_number(const std::string& text) {
  const std::size_t colon = text.find(':');
  if (colon == std::string::npos) return std::nullopt;
  const auto major = parse_decimal(std::string_view(text).substr(0, colon));
  const auto minor = parse_decimal(std::string_view(text).substr(colon + 1));
  if (!major || !minor) return std::nullopt;
  return gnu_dev_makedev(static_cast<unsigned>(*major), static_cast<unsigned>(*minor));
}

std::optional<SysfsBlockDevice> SysfsBlockDevice::find(dev_t device, const KernelViews& views) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path path = fs::canonical(views.sys + "/dev/block/" + device_number_text(device), error);
  if (error) return std::nullopt;
  SysfsBlockDevice found;
  found.views_ = views;
  found.path_ = path.string();
  found.kernel_name_ = path.filename().string();
  found.number_ = device;
  found.is_partition_ = fs::exists(path / "partition", error);
  found.disk_path_ = found.is_partition_ ? path.parent_path().string() : path.string();
  return found;
}

SysfsBlockDevice SysfsBlockDevice::disk() const {
  if (!is_partition_) return *this;
  SysfsBlockDevice whole = *this;
  whole.path_ = disk_path_;
  whole.kernel_name_ = std::filesystem::path(disk_path_).filename().string();
  whole.number_ = parse_device_number(read_attribute(disk_path_ + "/dev").value_or("")).value_or(0);
  whole.is_partition_ = false;
  return whole;
}

std::vector<SysfsBlockDevice> SysfsBlockDevice::partitions() const {
  std::vector<SysfsBlockDevice> found;
  if (is_partition_) return found;
  for (const std::string& name : list_directory(path_)) {
    if (!name.starts_with(kernel_name_)) continue;
    const auto number = parse_device_number(read_attribute(path_ + "/" + name + "/dev").value_or(""));
    if (!number) continue;
    SysfsBlockDevice part = *this;
    part.path_ = path_ + "/" + name;
    part.kernel_name_ = name;
    part.number_ = *number;
    part.is_partition_ = true;
    found.push_back(part);
  }
  return found;
}

std::vector<std::string> SysfsBlockDevice::holders() const { return list_directory(path_ + "/holders"); }

std::vector<SysfsBlockDevice> SysfsBlockDevice::slaves() const {
  std::vector<SysfsBlockDevice> found;
  for (const std::string& name : list_directory(path_ + "/slaves")) {
    const auto number = parse_device_number(read_attribute(path_ + "/slaves/" + name + "/dev").value_or(""));
    if (!number) continue;
    if (auto slave = find(*number, views_)) found.push_back(*std::move(slave));
  }
  return found;
}

// sysfs counts in sectors of 512 bytes, whatever the logical block.
std::uint64_t SysfsBlockDevice::start() const {
  return is_partition_ ? read_number(path_ + "/start").value_or(0) * kSectorSize : 0;
}

std::uint64_t SysfsBlockDevice::size() const { return read_number(path_ + "/size").value_or(0) * kSectorSize; }

std::optional<std::string> SysfsBlockDevice::disk_attribute(const std::string& name) const {
  return read_attribute(disk_path_ + "/" + name);
}

std::optional<std::uint64_t> SysfsBlockDevice::disk_number(const std::string& name) const {
  return read_number(disk_path_ + "/" + name);
}

std::string SysfsBlockDevice::wwn() const {
  for (const char* name : {"wwid", "device/wwid"}) {  // NVMe, SCSI
    if (const auto text = disk_attribute(name); text && !text->empty()) return *text;
  }
  return {};
}

std::string SysfsBlockDevice::serial() const {
  for (const char* name : {"serial", "device/serial"}) {  // virtio, NVMe and MMC
    if (const auto text = disk_attribute(name); text && !text->empty()) return *text;
  }
  return serial_of_page(disk_path_ + "/device/vpd_pg80");
}

std::optional<SysfsBlockDevice::LoopBacking> SysfsBlockDevice::loop_backing() const {
  const auto path = disk_attribute("loop/backing_file");
  if (!path || path->empty()) return std::nullopt;
  LoopBacking backing{*path, disk_number("loop/offset").value_or(0), disk_number("loop/sizelimit").value_or(0)};
  constexpr std::string_view kDeleted = " (deleted)";
  if (backing.path.ends_with(kDeleted)) backing.path.resize(backing.path.size() - kDeleted.size());
  return backing;
}

std::vector<SysfsBlockDevice> all_disks(const KernelViews& views) {
  std::vector<SysfsBlockDevice> found;
  for (const std::string& name : list_directory(views.sys + "/block")) {
    const auto number = parse_device_number(read_attribute(views.sys + "/block/" + name + "/dev").value_or(""));
    if (!number) continue;
    if (auto disk = SysfsBlockDevice::find(*number, views)) found.push_back(*std::move(disk));
  }
  return found;
}

}  // namespace remapfs
