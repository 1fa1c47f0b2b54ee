// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

// What sysfs says of block devices. Every root is a parameter, so that tests can put a tree of their own there.

namespace remapfs {

// Where the kernel's views are.
struct KernelViews {
  std::string sys = "/sys";
  std::string proc = "/proc";
  std::string dev = "/dev";
};

// "8:16" for a device number, and back.
[[nodiscard]] std::string device_number_text(dev_t device);
[[nodiscard]] std::optional<dev_t> parse_device_number(const std::string& text);

// One block device as sysfs shows it. Values are read when asked for; absent attributes are nothing.
class SysfsBlockDevice {
 public:
  // Nothing when sysfs does not know the device.
  [[nodiscard]] static std::optional<SysfsBlockDevice> find(dev_t device, const KernelViews& views = {});

  [[nodiscard]] dev_t number() const { return number_; }
  // The kernel's name: "sda1".
  [[nodiscard]] const std::string& kernel_name() const { return kernel_name_; }
  [[nodiscard]] bool is_partition() const { return is_partition_; }
  // The whole disk a partition is on; the device itself otherwise.
  [[nodiscard]] SysfsBlockDevice disk() const;
  // Partitions of a disk; none of a partition.
  [[nodiscard]] std::vector<SysfsBlockDevice> partitions() const;
  // Devices stacked on this one (dm, md, bcache), as kernel names; and those this one is made of.
  [[nodiscard]] std::vector<std::string> holders() const;
  [[nodiscard]] std::vector<SysfsBlockDevice> slaves() const;

  // First byte on the disk: 0 unless a partition.
  [[nodiscard]] std::uint64_t start() const;
  [[nodiscard]] std::uint64_t size() const;
  // An attribute of the disk: "queue/logical_block_size".
  [[nodiscard]] std::optional<std::string> disk_attribute(const std::string& name) const;
  [[nodiscard]] std::optional<std::uint64_t> disk_number(const std::string& name) const;
  [[nodiscard]] std::string wwn() const;
  [[nodiscard]] std::string serial() const;

  struct LoopBacking {
    std::string path;  // as the kernel prints it, without " (deleted)"
    std::uint64_t offset = 0;
    std::uint64_t limit = 0;  // 0: none
  };
  // What an active loop device is over.
  [[nodiscard]] std::optional<LoopBacking> loop_backing() const;

 private:
  KernelViews views_;
  std::string path_;       // of the device in sysfs
  std::string disk_path_;  // of its disk
  std::string kernel_name_;
  dev_t number_ = 0;
  bool is_partition_ = false;
};

// All disks and loop devices (not partitions).
[[nodiscard]] std::vector<SysfsBlockDevice> all_disks(const KernelViews& views = {});

}  // namespace remapfs
