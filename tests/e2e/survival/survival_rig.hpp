// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <future>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "e2e/kill/mounted_volume.hpp"
#include "e2e/kill/scratch.hpp"
#include "support/eventually.hpp"
#include "support/loop_device.hpp"
#include "support/random.hpp"

namespace remapfs::testing {

// The process that serves now, as a child of the one that keeps; -1 between two.
[[nodiscard]] pid_t worker_of(pid_t keeper);
// Random reads and writes of a file or device by fio, which compares all it wrote and fails with the first error.
void verified_load(const std::string& path, unsigned seconds, std::uint64_t size);
// The same in a file there, while directories and files of known contents come and go.
void load_file_system(const std::string& folder, unsigned seconds);

// A mounted volume over plain images, whose processes are killed.
class SurvivalRig : public ::testing::Test {
 protected:
  static constexpr std::uint64_t kPrimarySize = std::uint64_t{64} << 20U;

  SurvivalRig();
  ~SurvivalRig() override;

  [[nodiscard]] pid_t worker() const { return worker_of(keeper_); }
  // Kills the process that serves, at once.
  void kill_worker();
  // Kills the process that serves, and has its disk before the next one can.
  static void kill_and_hold(pid_t keeper, pid_t worker, const OpenFile& primary);
  // Kills it while body runs, after each of many pauses of up to `longest`; how often.
  std::uint64_t kill_while(const std::function<void()>& body, std::chrono::milliseconds longest);

  // A loop device over the disk; taken down at the end.
  [[nodiscard]] const std::string& attach_loop();
  // mkfs and mount of ext4 on the loop device; where.
  [[nodiscard]] std::string mount_ext4();
  void unmount_ext4();

  [[nodiscard]] nlohmann::json survival() const { return volume_.status().at("crash_survival"); }
  // Processes that followed a killed one so far; 0 while nobody can be asked.
  [[nodiscard]] std::uint64_t restarts() const;
  [[nodiscard]] std::string pattern(std::uint64_t length);

  Random random_;
  ScratchDirectory directory_;
  MountedVolume volume_{directory_};
  pid_t keeper_ = -1;

 private:
  std::string loop_;
  std::string file_system_;
};

// A volume on a disk that may be told to be slow or to fail, mounted in the foreground, to hear what it says.
class ForegroundRig : public ::testing::Test {
 protected:
  static constexpr std::size_t kLength = 4096;
  static constexpr std::uint64_t kSize = std::uint64_t{32} << 20U;

  // on_disk: the primary is a block device over that disk, not its image.
  explicit ForegroundRig(bool on_disk = false);
  ~ForegroundRig() override;

  // environment: "NAME=VALUE" each. options: further words of `remapfs mount`.
  void mount(const std::vector<std::string>& environment, const std::vector<std::string>& options = {});
  // How the daemon ended and what it said; 124 when it does not end in time.
  Ran end_of_daemon();

  ScratchDirectory directory_;
  FailingDisk primary_{directory_, "primary", kSize};
  std::optional<LoopDevice> device_;
  MountedVolume volume_{directory_};

 private:
  std::future<Ran> daemon_;
};

}  // namespace remapfs::testing
