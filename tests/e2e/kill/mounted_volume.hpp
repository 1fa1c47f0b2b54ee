// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/json.hpp"
#include "e2e/kill/scratch.hpp"

namespace remapfs::testing {

// An image behind the program faulty-disk.
class FailingDisk {
 public:
  // name: of the mount point, "primary" or "spare" (clean_up.sh unmounts these). The image is NAME.img in the
  // directory; it is made, sparse, when it is not there.
  FailingDisk(const ScratchDirectory& directory, const std::string& name, std::uint64_t size);

  // The disk to be used, and the platter behind it.
  [[nodiscard]] std::string path() const { return mount_point_ + "/disk"; }
  [[nodiscard]] const std::string& image() const { return image_; }

  // Adds a rule for these sectors; `effect` is the rest of it ("op=read,mode=times:1"). Nothing when there are none.
  void add_rule(const std::vector<std::uint64_t>& sectors, const std::string& effect);
  void clear_rules();
  // How many requests all rules since the last clear_rules() have failed.
  [[nodiscard]] std::uint64_t failures() const;

 private:
  const ScratchDirectory& directory_;
  std::string image_;
  std::string mount_point_;
  unsigned rules_ = 0;
};

// A volume under the real program: its map, its mount and its daemon. Members throw std::runtime_error, with what the
// program said, when it fails.
class MountedVolume {
 public:
  // Nothing exists yet but the directory.
  explicit MountedVolume(const ScratchDirectory& directory);

  // Extra words of `remapfs create`: --spare-size and the like.
  void create(const std::string& primary, const std::string& spare, const std::vector<std::string>& words);
  // Returns when the disk can be used; how long the command took.
  std::chrono::duration<double> mount();
  // Orderly.
  void unmount();
  // Ends the daemon, all of it, as a crash of the machine would, without waiting for it; afterwards the mount is dead.
  void kill();
  // Waits until nothing is left of a killed daemon.
  void wait_until_dead();
  // Takes the dead mount away.
  void unmount_dead();

  [[nodiscard]] nlohmann::json status() const;
  // The process that serves, and the one that would start another.
  [[nodiscard]] pid_t worker() const { return status().at("worker_pid").get<pid_t>(); }
  [[nodiscard]] pid_t keeper() const { return status().at("daemon_pid").get<pid_t>(); }
  // remapfs check: 0 clean, 2 findings.
  [[nodiscard]] Ran check() const;
  // What a query of the map answers, as sqlite3 prints it.
  [[nodiscard]] std::string query(const std::string& sql) const;
  // Any verb: remapfs VERB MAP WORDS...
  [[nodiscard]] Ran ask(const std::string& verb, const std::vector<std::string>& words) const;

  [[nodiscard]] const std::string& map() const { return map_; }
  [[nodiscard]] std::string disk() const { return mount_point_ + "/disk"; }

 private:
  std::string map_;
  std::string mount_point_;
  // Name the processes even when their numbers are used again.
  std::optional<OpenFile> keeper_;
  std::optional<OpenFile> worker_;
};

}  // namespace remapfs::testing
