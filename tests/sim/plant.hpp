// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "remapfs/volume.hpp"
#include "sim/observed_store.hpp"
#include "sim/scheduler.hpp"
#include "sim/sim_files.hpp"
#include "sim/world.hpp"
#include "store/surviving_tags.hpp"
#include "support/fake_disk.hpp"
#include "support/temp_dir.hpp"

namespace remapfs::sim {

// The shape of a simulated volume.
struct Shape {
  std::uint64_t block_size;
  std::uint32_t logical_block;
  std::uint64_t disk_bytes;
  std::uint64_t slots;  // of the first spare
  bool spare_fails;     // at times
  bool punches;         // the primary can, cheaply
  bool one_disk;        // the first spare is the end of the primary's

  explicit Shape(Random random);

  [[nodiscard]] std::uint64_t sectors() const { return disk_bytes / kSectorSize; }
  [[nodiscard]] std::uint64_t sectors_per_block() const { return block_size / kSectorSize; }
  // Calls visit with each sector of the block that is on the disk.
  template <class Visit>
  void for_sectors(BlockIndex block, Visit&& visit) const {
    const std::uint64_t end = std::min((block.value() + 1) * sectors_per_block(), sectors());
    for (std::uint64_t s = block.value() * sectors_per_block(); s < end; ++s) visit(s);
  }
  // Sectors below may fail. Above there are blocks that always work, as a disk has that is not broken as a whole.
  [[nodiscard]] std::uint64_t sectors_that_may_fail() const { return round_down(sectors() / 2, 64); }
};

// A spare of the volume, on its disk.
struct SpareOnDisk {
  testing::FakeDisk* disk;  // perhaps the primary
  ByteOffset begin;
  std::uint64_t first_slot_sector;  // of the disk
  std::uint64_t slots;
  std::string uuid;
};

// A volume with all that it stands on, in a World: disks, in use and not, a map, and the process that has it mounted.
// Threads: as World.
class Plant {
 public:
  // contents: of the primary.
  Plant(const Shape& shape, std::uint64_t seed, std::span<const std::byte> contents);
  // Nothing is closed in order.
  ~Plant();
  Plant(const Plant&) = delete;
  Plant& operator=(const Plant&) = delete;

  // Mounts the volume, on the disks that the map names; the errors are those of the store and the volume.
  Result<void> try_mount();
  // The process is gone, and has closed nothing. What was on its way arrives, or is lost with the power. A process that
  // was killed may be followed by one that goes on with the mount, and knows what it knew of its devices.
  void leave_behind();
  // What the process that has it mounted, or the one that will, was left by the one before.
  struct Inherited {
    bool is_there = false;
    bool sync_failed = false;  // of some device
    bool syncing = false;
    bool loss = false;  // that a flush has to tell, or has told without an answer
    bool breaker_open = false;
  };
  [[nodiscard]] const Inherited& inherited() const { return inherited_; }
  // In order: whoever mounts it next knows what the map says.
  void leave_in_order() {
    volume.reset();
    inherited_ = {};
  }

  // Syncs and files that were to fail once fail no more.
  void call_off_failures();
  void clear_faults();

  // --- Disks come and go, as the operator has it ---

  // One that nothing needs; null: there is none, and no more will be bought. What is on it is junk, or what its last
  // use left there.
  testing::FakeDisk* find_unused(Random& random);
  // Nobody knows any more what it may be needed for, until the next mount.
  void set_aside(testing::FakeDisk& disk) { set_aside_.insert(&disk); }
  // Makes it a spare that the volume does not know yet. Errors: those of the store and the world's end.
  Result<NewSpare> ready_spare(testing::FakeDisk& disk);
  NewPrimary ready_primary(testing::FakeDisk& disk);
  // A member of the volume, by the name of its device.
  [[nodiscard]] testing::FakeDisk& disk_named(const std::string& name) const { return *disk_at(name); }
  // What the mounted volume says of its members.
  void follow_volume() { take_members(volume->info()); }
  // One of all that are in use.
  testing::FakeDisk& any_member(Random& random);
  const std::pair<const SpareId, SpareOnDisk>& any_spare(Random& random) const {
    return spare_at(random.below(spares.size()));
  }

  // After an orderly close: what `check` finds, if it finds something.
  [[nodiscard]] std::optional<std::string> check();
  // While it is mounted, around a spare that joins: somebody has a copy of the map from before.
  void copy_map();
  void joined_since_the_copy(SpareId id) { map_in_use_.joined = id; }
  // After an orderly close: keeps a copy of the map, and now and then puts back an earlier one, or the one from before
  // a spare joined; what is wrong with how that was taken, if something is.
  [[nodiscard]] std::optional<std::string> try_earlier_map();

  // While nothing is mounted: what can be recovered from the spares without the map, and is proven, is what was
  // committed, whichever of them are given. From all of them it must be proven after an orderly close. Says what is
  // wrong, if something is.
  [[nodiscard]] std::optional<std::string> check_spares_alone(bool after_close);
  std::uint64_t proven = 0;  // answers of the spares alone

  // Whatever has become of a commit whose outcome nobody knows.
  [[nodiscard]] bool surely_remapped(std::uint64_t sector) const;
  [[nodiscard]] bool perhaps_remapped(std::uint64_t sector) const;
  [[nodiscard]] bool surely_lost(std::uint64_t sector) const;

  const SimulatedTime time;
  const Shape shape;
  World world;
  testing::FakeDisk* primary = nullptr;
  std::map<SpareId, SpareOnDisk> spares;
  std::unique_ptr<SimFiles> files;
  Observed observed;
  std::unique_ptr<Volume> volume;              // while it is mounted
  std::function<void(const Event&)> on_event;  // of the volume, while it has not ended

 private:
  testing::FakeDisk& make_disk(ByteCount size, const std::string& path);
  [[nodiscard]] testing::FakeDisk* disk_at(const std::string& path) const;
  void take_members(const VolumeInfo& info);
  [[nodiscard]] const std::pair<const SpareId, SpareOnDisk>& spare_at(std::uint64_t position) const {
    return *std::next(spares.begin(), static_cast<std::ptrdiff_t>(position));
  }
  // A spare as a device, outside of the world.
  [[nodiscard]] static std::unique_ptr<BlockDevice> outside(const SpareOnDisk& spare);
  [[nodiscard]] std::optional<std::string> check_one_alone(const store::SurvivingTags& tags) const;
  [[nodiscard]] std::optional<std::string> check_joint(const std::vector<RemapRow>& rows) const;

  void remember_the_end();
  void inherit();

  std::vector<std::unique_ptr<testing::FakeDisk>> disks_;
  std::unique_ptr<VolumeMemory> memory_;  // of the mounted volume
  std::unique_ptr<VolumeMemory> left_;    // as it was at the last end
  Inherited inherited_;
  std::set<testing::FakeDisk*> set_aside_;
  SpareId highest_spare_ = 1;
  const testing::TempDir directory_{"/dev/shm"};
  const std::string map_path_ = directory_ / "map";
  // A map with its log.
  struct MapCopy {
    std::string file;
    std::string log;
    SpareId joined = 0;  // 0: there is no copy, or nobody has joined since
  };
  [[nodiscard]] std::optional<std::string> try_map(const MapCopy& earlier, const std::string& latest);
  std::string earlier_map_;
  MapCopy map_in_use_;
};

}  // namespace remapfs::sim
