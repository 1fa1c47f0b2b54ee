// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstdio>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "sim/failing_calls.hpp"
#include "sim/failing_memory.hpp"
#include "sim/scheduler.hpp"
#include "sim/sim_device.hpp"
#include "sim/sim_files.hpp"
#include "sim/world.hpp"
#include "store/join_survivors.hpp"
#include "store/new_spare.hpp"
#include "store/sqlite_map_store.hpp"
#include "support/create_spec.hpp"
#include "support/fake_disk.hpp"
#include "support/temp_dir.hpp"

// Whatever the store asks of files, memory and the spare fails once, in turn, until a run needs no failure; and every
// change is once the last one before the power goes. Afterwards the map is what was committed, or, where a commit said
// that its outcome is unknown, that or what it was before.

namespace remapfs::sim {
namespace {

// --- What is done with the store ---

// What the map is to say.
struct Model {
  std::map<std::uint64_t, std::tuple<EntryState, SlotAddress, SectorMask>> rows;
  std::set<SpareId> spares;
  std::string primary;

  friend bool operator==(const Model&, const Model&) = default;

  void take(const RemapRow& row) {
    const bool remapped = row.state == EntryState::remapped;
    rows[row.block.value()] = {row.state, remapped ? row.where : SlotAddress{}, row.valid_mask};
  }
};

// One of these at a time.
struct Operation {
  MapTransaction transaction;
  SpareId joins = 0;
  SpareId leaves = 0;

  void apply(Model& model) const {
    for (const MapChange& change : transaction.changes) {
      if (change.kind == MapChange::Kind::erase) {
        model.rows.erase(change.block.value());
      } else {
        model.take(change.row);
      }
    }
    if (transaction.primary) model.primary = transaction.primary->path;
    if (joins != 0) model.spares.insert(joins);
    if (leaves != 0) model.spares.erase(leaves);
  }
};

MapChange put(std::uint64_t block, SlotAddress where, std::optional<SlotAddress> vacated = {}) {
  MapChange change;
  change.block = BlockIndex(block);
  change.row.block = change.block;
  change.row.state = EntryState::remapped;
  change.row.where = where;
  change.row.valid_mask = change.row.written_mask = 0xFF;
  change.row.cause = Cause::write_error;
  change.row.error_count = 1;
  change.vacated = vacated;
  return change;
}

MapChange lost(std::uint64_t block) {
  MapChange change;
  change.block = BlockIndex(block);
  change.row.block = change.block;
  change.row.valid_mask = 0x7F;
  return change;
}

MapChange erase(std::uint64_t block, std::optional<SlotAddress> vacated) {
  MapChange change;
  change.kind = MapChange::Kind::erase;
  change.block = BlockIndex(block);
  change.vacated = vacated;
  return change;
}

SlotAddress first(std::uint64_t slot) { return {1, SlotIndex(slot)}; }
SlotAddress second(std::uint64_t slot) { return {2, SlotIndex(slot)}; }

std::vector<Operation> operations() {
  std::vector<Operation> all(11);
  all[0].transaction.changes = {put(1, first(0)), put(2, first(1)), put(3, first(2)), lost(9)};
  all[1].transaction.changes = {put(1, first(3), first(0))};
  all[1].transaction.retired_slots = {first(0)};
  all[1].transaction.events = {{"relocated", BlockIndex(1), "again"}};
  all[2].transaction.changes = {erase(3, first(2)), erase(9, {})};
  all[3].joins = 2;
  all[4].transaction.changes = {put(4, second(2)), put(5, first(4))};
  // To the other spare, and in each other's place.
  all[5].transaction.changes = {put(1, second(5), first(3))};
  all[6].transaction.changes = {put(4, first(6), second(2)), put(2, second(7), first(1))};
  all[7].transaction.primary = PrimaryRecord{"/another", "another disk"};
  all[8].transaction.events = {{"note", {}, "nothing else"}};
  all[8].transaction.scrub =
      ScrubRecord{ScrubState::running, BlockIndex(7), 0, {}, "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"};
  all[9].transaction.changes = {put(4, second(8), first(6)), put(5, second(9), first(4))};
  all[10].leaves = 1;
  return all;
}

class StoreLife {
 protected:
  StoreLife() {
    for (const SpareId id : {SpareId{1}, SpareId{2}})
      disks_[id] = testing::FakeDisk::with_logical_block(ByteCount(4 << 20), 512);
    const auto created = store::create_volume(testing::simulated_spec(path_, ByteCount(1 << 20), 4096), *disks_.at(1));
    EXPECT_TRUE(created) << describe(created.error());
    committed_.spares = {1};
    committed_.primary = created->primary_path;
    files_ = std::make_unique<SimFiles>(world_);
  }

  // One life of the store; an error ends it. What was committed, and what may have been, is noted.
  Result<void> live() {
    std::map<SpareId, std::unique_ptr<SimDevice>> devices;
    for (const auto& [id, disk] : disks_) devices[id] = std::make_unique<SimDevice>(*disk, world_);
    auto opened = store::SqliteMapStore::open(path_, {});
    if (!opened) return fail(opened.error());
    store::SqliteMapStore& store = **opened;
    Model found;
    for (const SpareInfo& spare : store.info().spares) {
      if (auto attached = store.attach_spare(spare.id, *devices.at(spare.id)); !attached) return attached;
      found.spares.insert(spare.id);
    }
    found.primary = store.info().primary_path;
    auto loaded = store.load([&](std::span<const RemapRow> rows) -> Result<void> {
      for (const RemapRow& row : rows) found.take(row);
      return {};
    });
    if (!loaded) return loaded;
    EXPECT_TRUE(found == committed_ || (perhaps_ && found == *perhaps_)) << "the map is not what was committed";
    committed_ = std::move(found);
    perhaps_.reset();
    for (; next_ < operations_.size(); ++next_) {
      const Operation& operation = operations_[next_];
      Model after = committed_;
      operation.apply(after);
      // What is not answered may have been done.
      perhaps_ = after;
      const auto done = carry_out(operation, store, devices);
      if (done && !world_.ended()) {
        committed_ = std::move(after);
        perhaps_.reset();
        continue;
      }
      if (!world_.ended() && done.error().code != Errc::commit_unknown) perhaps_.reset();
      return fail(done ? Error{Errc::interrupted, 0, {}} : done.error());
    }
    return store.close();
  }

  static Result<void> carry_out(const Operation& operation, store::SqliteMapStore& store,
                                const std::map<SpareId, std::unique_ptr<SimDevice>>& devices) {
    if (operation.leaves != 0) return store.retire_spare(operation.leaves);
    if (operation.joins != 0) {
      SimDevice& device = *devices.at(operation.joins);
      const auto superblock = store::design_spare(store.info(), operation.joins, device);
      if (!superblock) return fail(superblock.error());
      if (auto made = store::initialise_spare(device, *superblock, false); !made) return made;
      SpareInfo spare;
      spare.id = operation.joins;
      spare.path = "/second";
      spare.uuid = superblock->spare.to_string();
      spare.slots = superblock->layout.slots;
      spare.first_slot = superblock->layout.first_slot;
      return store.add_spare(spare, "", device);
    }
    const auto report = store.commit(operation.transaction);
    // What failed once does not fail again.
    const bool finished = !report && !report.error().unfinished.empty() && store.finish_commits().left.empty();
    return report || finished ? Result<void>() : fail(report.error().error);
  }

  // A life without failures, after one that may have had some.
  void recover() {
    world_.begin_again();
    files_->fail_nth(SimFiles::What::anything, 0);
    sqlite_memory.until_failure = cpp_memory.until_failure = failing_calls.until_failure = 0;
    for (const auto& [id, disk] : disks_) disk->fail_nth(0);
    static_cast<void>(look_at_the_spares());
    const bool was_done = next_ == operations_.size();
    // Which of the two it is decides whether the operation is to be repeated.
    if (perhaps_) next_ = operations_.size();
    const bool only_look = perhaps_.has_value();
    const auto lived = live();
    ASSERT_TRUE(lived) << describe(lived.error());
    EXPECT_TRUE(look_at_the_spares()) << "closed in order";
    if (was_done || only_look) return;
    EXPECT_EQ(next_, operations_.size());
  }

  // What they prove without the map is what was committed, whoever is asked. True: all that are left prove it.
  bool look_at_the_spares() const {
    bool all = false;
    for (const std::vector<SpareId>& given : {std::vector<SpareId>{1}, {2}, {1, 2}}) {
      std::vector<store::SpareSurvivors> survivors;
      for (const SpareId id : given) {
        if (auto tags = store::read_surviving_tags(*disks_.at(id))) {
          survivors.push_back({std::to_string(id), std::move(*tags)});
        }
      }
      if (survivors.empty()) continue;
      const auto joint = store::join_survivors(survivors);
      if (!joint || !joint->proven) continue;
      Model proven;
      for (const RemapRow& row : joint->rows) proven.take(row);
      EXPECT_TRUE(each_is_of(proven, committed_, perhaps_ ? *perhaps_ : committed_)) << "they prove something else";
      all = all || std::set<SpareId>(given.begin(), given.end()) == committed_.spares;
    }
    return all;
  }
  // Of a commit that was cut off some may be there.
  static bool each_is_of(const Model& proven, const Model& before, const Model& after) {
    for (std::uint64_t block = 0; block < 10; ++block) {
      const auto there = [block](const Model& model) {
        const auto row = model.rows.find(block);
        const bool remapped = row != model.rows.end() && std::get<EntryState>(row->second) == EntryState::remapped;
        return remapped ? std::optional(row->second) : std::nullopt;
      };
      if (there(proven) != there(before) && there(proven) != there(after)) return false;
    }
    return true;
  }

  const SimulatedTime time_;
  World world_{1};
  const testing::TempDir directory_{"/dev/shm"};
  const std::string path_ = directory_ / "map";
  std::map<SpareId, std::unique_ptr<testing::FakeDisk>> disks_;
  std::unique_ptr<SimFiles> files_;
  const std::vector<Operation> operations_ = operations();
  std::size_t next_ = 0;
  Model committed_;
  std::optional<Model> perhaps_;
};

// Runs body in a fixture of its own for 1, 2, 3, ... until it says that no failure was needed.
template <class Body>
std::uint64_t sweep(Body&& body) {
  std::uint64_t n = 1;
  while (body(n) && !::testing::Test::HasFailure()) ++n;
  return n;
}

class Sweep : public StoreLife {
 public:
  bool fail_file_operation(std::uint64_t n) {
    files_->fail_nth(SimFiles::What::anything, n);
    static_cast<void>(live());
    const bool failed = !files_->failure_is_due();
    recover();
    return failed;
  }
  bool fail_once(FailsOnce& what, std::uint64_t n) {
    what.until_failure = n;
    static_cast<void>(live());
    const bool failed = what.until_failure == 0;
    recover();
    return failed;
  }
  // Where nobody is there to answer, the process ends, as by a signal.
  bool fail_new(std::uint64_t n) {
    cpp_memory.until_failure = n;
    try {
      static_cast<void>(live());
    } catch (const std::bad_alloc&) {
      ++ended_;
    }
    const bool failed = cpp_memory.until_failure == 0;
    recover();
    return failed;
  }
  bool fail_access_to_spare(SpareId id, std::uint64_t n) {
    testing::FakeDisk& disk = *disks_.at(id);
    disk.fail_nth(n);
    static_cast<void>(live());
    const bool failed = disk.nth_failed();
    recover();
    return failed;
  }
  bool lose_power(std::uint64_t n, std::uint64_t seed) {
    for (; seed > 0; --seed) static_cast<void>(world_.random()());
    world_.cut_after(n, Cut::power);
    static_cast<void>(live());
    if (!world_.ended()) return false;
    for (const auto& [id, disk] : disks_) disk->crash(world_.random()());
    files_->lose_power();
    recover();
    return true;
  }

  static inline std::uint64_t ended_ = 0;  // lives, by std::bad_alloc
};

TEST(Store, EveryFileOperationMayFailOnce) {
  const std::uint64_t n = sweep([](std::uint64_t i) { return Sweep().fail_file_operation(i); });
  std::printf("%llu operations failed, one in each life\n", static_cast<unsigned long long>(n - 1));
  EXPECT_GT(n, 100U);
}

TEST(Store, EveryCallAboutFilesMayFailOnce) {
  const std::uint64_t n = sweep([](std::uint64_t i) { return Sweep().fail_once(failing_calls, i); });
  std::printf("%llu calls of the library failed, one in each life\n", static_cast<unsigned long long>(n - 1));
  EXPECT_GT(n, 20U);
}

TEST(Store, EveryAllocationOfSqliteMayFailOnce) {
  ASSERT_TRUE(sqlite_memory_is_counted());
  const std::uint64_t n = sweep([](std::uint64_t i) { return Sweep().fail_once(sqlite_memory, i); });
  std::printf("%llu allocations failed, one in each life\n", static_cast<unsigned long long>(n - 1));
  EXPECT_GT(n, 100U);
}

TEST(Store, EveryNewMayFailOnce) {
  const std::uint64_t n = sweep([](std::uint64_t i) { return Sweep().fail_new(i); });
  std::printf("%llu allocations failed, one in each life, which %llu did not survive\n",
              static_cast<unsigned long long>(n - 1), static_cast<unsigned long long>(Sweep::ended_));
  EXPECT_GT(n, 100U);
}

TEST(Store, EveryAccessToASpareMayFailOnce) {
  std::uint64_t n = 0;
  for (const SpareId id : {SpareId{1}, SpareId{2}}) {
    n += sweep([id](std::uint64_t i) { return Sweep().fail_access_to_spare(id, i); }) - 1;
  }
  std::printf("%llu accesses failed, one in each life\n", static_cast<unsigned long long>(n));
  EXPECT_GT(n, 40U);
}

TEST(Store, PowerMayGoAtEveryChange) {
  std::uint64_t points = 0;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    points += sweep([seed](std::uint64_t i) { return Sweep().lose_power(i, seed); }) - 1;
  }
  std::printf("%llu crash points\n", static_cast<unsigned long long>(points));
  EXPECT_GT(points, 500U);
}

}  // namespace
}  // namespace remapfs::sim
