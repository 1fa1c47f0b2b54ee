// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "remapfs/volume.hpp"
#include "store/spare_format.hpp"
#include "support/fake_disk.hpp"
#include "support/temp_dir.hpp"

// A volume with a history, of which everything is known, as bytes that can be damaged and put back.

namespace remapfs::testing {

// Everything a volume consists of, but its primary.
struct Remains {
  std::map<std::string, std::string> map;  // by what is added to the path of the map: "", "-wal", "-shm"
  std::vector<std::byte> spare;
  std::vector<std::uint64_t> unreadable;  // sectors of the spare, until they are written
};

// What every sector of the virtual disk holds.
struct Truth {
  std::vector<std::byte> bytes;
  std::vector<bool> lost;  // by sector: answers with an error
};

// How a volume came to be what it is.
struct Specimen {
  static constexpr std::uint64_t kBlock = 4096;
  static constexpr std::uint64_t kBlocks = 512;

  std::vector<std::byte> primary;  // its bytes when closed: old contents where a block has moved
  std::vector<std::uint64_t> bad;  // its sectors that cannot be read
  // After three earlier mounts, the last orderly close, and a kill -9 after that. The mount before the close has only
  // marked a block lost, which leaves no trace on the spare but the mount itself.
  Remains first, second, unmarked, closed, killed;
  Truth first_truth, second_truth, closed_truth, killed_truth;
  std::vector<std::byte> primary_when_killed;
  store::SpareLayout layout;

  // seed: of all contents. Two seeds give two volumes.
  static Specimen make(std::uint64_t seed);
  // Of its primary.
  static std::string identity(std::uint64_t seed) { return "disk " + std::to_string(seed); }
};

// Remains put down where they can be opened.
class Site {
 public:
  Site(const Specimen& specimen, const Remains& remains, const std::vector<std::byte>& primary);

  // Mounts; the errors are those of the store and the volume.
  Result<std::unique_ptr<Volume>> mount(const std::string& map_path);
  [[nodiscard]] Remains now() const;

  [[nodiscard]] const std::string& map_path() const { return map_path_; }
  [[nodiscard]] std::string other_path() const { return directory_ / "other"; }
  [[nodiscard]] FakeDisk& spare() { return *spare_; }
  [[nodiscard]] FakeDisk& primary() { return *primary_; }

 private:
  const TempDir directory_{"/dev/shm"};
  const std::string map_path_ = directory_ / "map";
  std::unique_ptr<FakeDisk> primary_;
  std::unique_ptr<FakeDisk> spare_;
};

}  // namespace remapfs::testing
