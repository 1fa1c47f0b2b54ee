// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "remapfs/volume.hpp"
#include "sim/observed_store.hpp"
#include "sim/scheduler.hpp"
#include "sim/sim_files.hpp"
#include "sim/world.hpp"
#include "support/fake_disk.hpp"
#include "support/temp_dir.hpp"

namespace remapfs::sim {

// The shape of a simulated volume.
struct Shape {
  std::uint64_t block_size;
  std::uint32_t logical_block;
  std::uint64_t disk_bytes;
  std::uint64_t slots;
  bool spare_fails;  // at times
  bool punches;      // the primary can, cheaply
  bool one_disk;     // the spare is the end of the primary's

  explicit Shape(Random random);

  [[nodiscard]] std::uint64_t sectors() const { return disk_bytes / kSectorSize; }
  [[nodiscard]] std::uint64_t sectors_per_block() const { return block_size / kSectorSize; }
  // Sectors below may fail. Above there are blocks that always work, as a disk has that is not broken as a whole.
  [[nodiscard]] std::uint64_t sectors_that_may_fail() const { return round_down(sectors() / 2, 64); }
};

// A volume with all that it stands on, in a World: two disks, a map, and the process that has it mounted.
// Threads: as World.
class Plant {
 public:
  // contents: of the primary.
  Plant(const Shape& shape, std::uint64_t seed, std::span<const std::byte> contents);
  // Nothing is closed in order.
  ~Plant();
  Plant(const Plant&) = delete;
  Plant& operator=(const Plant&) = delete;

  // Mounts the volume; the errors are those of the store and the volume.
  Result<void> try_mount();
  // The process is gone, and has closed nothing. What was on its way arrives, or is lost with the power.
  void leave_behind();

  // Syncs and files that were to fail once fail no more.
  void call_off_failures();

  // After an orderly close: what `check` finds, if it finds something.
  [[nodiscard]] std::optional<std::string> check();
  // After an orderly close: keeps a copy of the map, and now and then puts back an earlier one; what is wrong with how
  // that was taken, if something is.
  [[nodiscard]] std::optional<std::string> try_earlier_map();

  // While nothing is mounted: what can be recovered from the spare without the map, and is proven, is what was
  // committed. It must be proven after an orderly close. Says what is wrong, if something is.
  [[nodiscard]] std::optional<std::string> check_spare_alone(bool after_close);
  std::uint64_t proven = 0;  // answers of the spare alone

  [[nodiscard]] bool remapped(std::uint64_t sector) const;

  const SimulatedTime time;
  const Shape shape;
  World world;
  std::unique_ptr<testing::FakeDisk> primary;
  testing::FakeDisk* spare = nullptr;   // perhaps the same
  std::uint64_t first_slot_sector = 0;  // of the spare's disk
  std::unique_ptr<SimFiles> files;
  Observed observed;
  std::unique_ptr<Volume> volume;  // while it is mounted

 private:
  // The spare on its disk, in the world or outside of it.
  [[nodiscard]] std::unique_ptr<BlockDevice> spare_device(std::shared_ptr<BlockDevice> disk) const;
  [[nodiscard]] std::unique_ptr<BlockDevice> spare_outside() const;

  std::unique_ptr<testing::FakeDisk> own_spare_;  // of two disks
  ByteOffset spare_begin_;
  const testing::TempDir directory_{"/dev/shm"};
  const std::string map_path_ = directory_ / "map";
  std::string earlier_map_;
};

}  // namespace remapfs::sim
