// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include "io/sysfs.hpp"
#include "support/temp_dir.hpp"

namespace remapfs::testing {

// Trees that look like /sys and /proc, with what a test puts there.
class FakeKernelViews {
 public:
  FakeKernelViews() {
    std::filesystem::create_directories(root_.path() / "sys/block");
    std::filesystem::create_directories(root_.path() / "sys/dev/block");
    write("proc/self/mountinfo", "");
    write("proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n");
  }

  [[nodiscard]] KernelViews views() const {
    return {(root_.path() / "sys").string(), (root_.path() / "proc").string(), (root_.path() / "dev").string()};
  }

  void write(const std::string& path, const std::string& text) {
    const std::filesystem::path full = root_.path() / path;
    std::filesystem::create_directories(full.parent_path());
    std::ofstream(full, std::ios::binary) << text;
  }
  // An attribute of a disk: "queue/logical_block_size".
  void set(const std::string& disk, const std::string& attribute, const std::string& text) {
    write("sys/devices/" + disk + "/" + attribute, text + "\n");
  }
  void add_disk(const std::string& name, const std::string& number, std::uint64_t sectors) {
    set(name, "dev", number);
    set(name, "size", std::to_string(sectors));
    link(name, number);
    std::filesystem::create_directory_symlink("../devices/" + name, root_.path() / "sys/block" / name);
  }
  void add_partition(const std::string& disk, const std::string& name, const std::string& number, std::uint64_t start,
                     std::uint64_t sectors) {
    const std::string inside = disk + "/" + name;
    set(inside, "dev", number);
    set(inside, "partition", "1");
    set(inside, "start", std::to_string(start));
    set(inside, "size", std::to_string(sectors));
    link(inside, number);
  }
  // `upper` is made of `lower` (both as below sys/devices).
  void stack(const std::string& upper, const std::string& lower) {
    const auto link_into = [this](const std::string& from, const std::string& folder, const std::string& to) {
      const std::filesystem::path place = root_.path() / "sys/devices" / from / folder;
      std::filesystem::create_directories(place);
      std::filesystem::create_directory_symlink(root_.path() / "sys/devices" / to,
                                                place / std::filesystem::path(to).filename());
    };
    link_into(upper, "slaves", lower);
    link_into(lower, "holders", upper);
  }

 private:
  void link(const std::string& name, const std::string& number) {
    std::filesystem::create_directory_symlink("../../devices/" + name, root_.path() / "sys/dev/block" / number);
  }

  TempDir root_;
};

}  // namespace remapfs::testing
