// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "core/json.hpp"
#include "e2e/cli/program.hpp"
#include "support/eventually.hpp"
#include "support/temp_dir.hpp"

namespace remapfs::e2e {

using testing::eventually;

// Exactly one line, "remapfs: what, where, what to do", with this in it.
void expect_one_error(const Ran& ran, int exit_code, const std::string& part);

// A directory with a primary full of known bytes, and names for the rest. At its end everything mounted, attached or
// running for it is taken down, whatever became of the test.
class Workspace : public ::testing::Test {
 protected:
  static constexpr std::uint64_t kPrimaryBytes = std::uint64_t{16} << 20U;

  Workspace();
  ~Workspace() override;

  // Makes the volume; 2 MiB of spare.
  void create(const std::vector<std::string>& more = {});
  void mount(const std::vector<std::string>& more = {});
  void unmount();

  [[nodiscard]] nlohmann::json status(const std::string& target) const;
  // Bytes of a file, and a fill of known bytes for one.
  static std::string read_bytes(const std::string& path, std::uint64_t offset, std::size_t length);
  static void write_bytes(const std::string& path, std::uint64_t offset, const std::string& bytes);
  [[nodiscard]] static std::string known_bytes(std::uint64_t offset, std::size_t length);
  // What a refusal must not change: contents of map and members.
  [[nodiscard]] std::string fingerprint() const;
  // Process numbers: of the daemon, which takes signals, and of its child that serves.
  [[nodiscard]] pid_t daemon() const;
  [[nodiscard]] pid_t worker() const;
  // Ends all of the daemon as a crash of the machine would.
  void kill_daemon() const;
  static bool ends_within(pid_t pid, std::chrono::seconds timeout);
  // Mounts the primary as a disk that fails when it is told to; says where.
  [[nodiscard]] std::string mount_failing_disk();

  remapfs::testing::TempDir dir_;
  std::string primary_ = dir_ / "primary";
  std::string spare_ = dir_ / "spare";
  std::string map_ = dir_ / "volume.map";
  std::string mnt_ = dir_ / "mnt";
  std::string disk_ = mnt_ + "/disk";

 private:
  void take_down();
};

}  // namespace remapfs::e2e
