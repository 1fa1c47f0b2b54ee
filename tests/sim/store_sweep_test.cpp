// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <tuple>
#include <vector>

#include "sim/scheduler.hpp"
#include "sim/sim_device.hpp"
#include "sim/sim_files.hpp"
#include "sim/world.hpp"
#include "store/sqlite_map_store.hpp"
#include "support/create_spec.hpp"
#include "support/fake_disk.hpp"
#include "support/temp_dir.hpp"

// Whatever the store asks of files, memory and the spare fails once, in turn, until a run needs no failure; and every
// change is once the last one before the power goes. Afterwards the map is what was committed, or, where a commit said
// that its outcome is unknown, that or what it was before.

namespace remapfs::sim {
namespace {

// --- Memory of SQLite that fails ---

struct FailingMemory {
  sqlite3_mem_methods real{};
  std::uint64_t until_failure = 0;

  bool fails() { return until_failure > 0 && --until_failure == 0; }
};
FailingMemory memory;

// SQLite takes other methods only before its first use.
const bool memory_is_ours = [] {
  sqlite3_mem_methods methods{};
  if (sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0) != SQLITE_OK) return false;
  if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &methods) != SQLITE_OK) return false;
  memory.real = methods;
  methods.xMalloc = [](int size) { return memory.fails() ? nullptr : memory.real.xMalloc(size); };
  methods.xRealloc = [](void* old, int size) { return memory.fails() ? nullptr : memory.real.xRealloc(old, size); };
  return sqlite3_config(SQLITE_CONFIG_MALLOC, &methods) == SQLITE_OK;
}();

// --- What is done with the store ---

using Model = std::map<std::uint64_t, std::tuple<EntryState, SlotAddress, SectorMask>>;

Model::mapped_type known(const RemapRow& row) {
  return {row.state, row.state == EntryState::remapped ? row.where : SlotAddress{}, row.valid_mask};
}

MapChange put(std::uint64_t block, std::uint64_t slot, std::optional<std::uint64_t> vacated = {}) {
  MapChange change;
  change.block = BlockIndex(block);
  change.row.block = change.block;
  change.row.state = EntryState::remapped;
  change.row.where = {1, SlotIndex(slot)};
  change.row.valid_mask = change.row.written_mask = 0xFF;
  change.row.cause = Cause::write_error;
  change.row.error_count = 1;
  if (vacated) change.vacated = SlotAddress{1, SlotIndex(*vacated)};
  return change;
}

MapChange lost(std::uint64_t block) {
  MapChange change;
  change.block = BlockIndex(block);
  change.row.block = change.block;
  change.row.valid_mask = 0x7F;
  return change;
}

MapChange erase(std::uint64_t block, std::optional<std::uint64_t> vacated) {
  MapChange change;
  change.kind = MapChange::Kind::erase;
  change.block = BlockIndex(block);
  if (vacated) change.vacated = SlotAddress{1, SlotIndex(*vacated)};
  return change;
}

std::vector<MapTransaction> transactions() {
  std::vector<MapTransaction> all(5);
  all[0].changes = {put(1, 0), put(2, 1), put(3, 2), lost(9)};
  all[1].changes = {put(1, 3, 0)};
  all[1].retired_slots = {{1, SlotIndex(0)}};
  all[1].events = {{"relocated", BlockIndex(1), "again"}};
  all[2].changes = {erase(3, 2), erase(9, {})};
  all[3].changes = {put(4, 2)};
  all[4].events = {{"note", {}, "nothing else"}};
  all[4].scrub = ScrubRecord{ScrubState::running, BlockIndex(7), 0, {}, "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"};
  return all;
}

class StoreLife {
 protected:
  StoreLife() {
    const auto created = store::create_volume(testing::simulated_spec(path_, ByteCount(1 << 20), 4096), *spare_);
    EXPECT_TRUE(created) << describe(created.error());
    files_ = std::make_unique<SimFiles>(world_);
  }

  // One life of the store; an error ends it. What was committed, and what may have been, is noted.
  Result<void> live() {
    SimDevice spare(*spare_, world_);
    auto opened = store::SqliteMapStore::open(path_, {});
    if (!opened) return fail(opened.error());
    store::SqliteMapStore& store = **opened;
    if (auto attached = store.attach_spare(1, spare); !attached) return attached;
    Model found;
    auto loaded = store.load([&](std::span<const RemapRow> rows) -> Result<void> {
      for (const RemapRow& row : rows) found[row.block.value()] = known(row);
      return {};
    });
    if (!loaded) return loaded;
    EXPECT_TRUE(found == committed_ || (perhaps_ && found == *perhaps_)) << "the map is not what was committed";
    committed_ = std::move(found);
    perhaps_.reset();
    for (; next_ < transactions_.size(); ++next_) {
      const MapTransaction& transaction = transactions_[next_];
      Model after = committed_;
      for (const MapChange& change : transaction.changes) {
        if (change.kind == MapChange::Kind::erase) {
          after.erase(change.block.value());
        } else {
          after[change.block.value()] = known(change.row);
        }
      }
      const auto report = store.commit(transaction);
      if (report && !world_.ended()) {
        committed_ = std::move(after);
        continue;
      }
      // After the end nobody was told anything.
      if (world_.ended() || report.error().error.code == Errc::commit_unknown) perhaps_ = std::move(after);
      return fail(report ? Error{Errc::interrupted, 0, {}} : report.error().error);
    }
    return store.close();
  }

  // A life without failures, after one that may have had some.
  void recover() {
    world_.begin_again();
    files_->fail_nth(SimFiles::What::anything, 0);
    memory.until_failure = 0;
    spare_->fail_nth(0);
    const bool was_done = next_ == transactions_.size();
    if (perhaps_) {
      // Which of the two it is decides whether the transaction is to be repeated.
      next_ = transactions_.size();
      const auto looked = live();
      ASSERT_TRUE(looked) << describe(looked.error());
      return;
    }
    const auto lived = live();
    ASSERT_TRUE(lived) << describe(lived.error());
    if (was_done) return;
    EXPECT_EQ(next_, transactions_.size());
  }

  const SimulatedTime time_;
  World world_{1};
  const testing::TempDir directory_{"/dev/shm"};
  const std::string path_ = directory_ / "map";
  std::unique_ptr<testing::FakeDisk> spare_ = testing::FakeDisk::with_logical_block(ByteCount(4 << 20), 512);
  std::unique_ptr<SimFiles> files_;
  const std::vector<MapTransaction> transactions_ = transactions();
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
  bool fail_allocation(std::uint64_t n) {
    memory.until_failure = n;
    static_cast<void>(live());
    const bool failed = memory.until_failure == 0;
    recover();
    return failed;
  }
  bool fail_access_to_spare(std::uint64_t n) {
    spare_->fail_nth(n);
    static_cast<void>(live());
    const bool failed = spare_->nth_failed();
    recover();
    return failed;
  }
  bool lose_power(std::uint64_t n, std::uint64_t seed) {
    for (; seed > 0; --seed) static_cast<void>(world_.random()());
    world_.cut_after(n, Cut::power);
    static_cast<void>(live());
    if (!world_.ended()) return false;
    spare_->crash(world_.random()());
    files_->lose_power();
    recover();
    return true;
  }
};

TEST(Store, EveryFileOperationMayFailOnce) {
  const std::uint64_t n = sweep([](std::uint64_t i) { return Sweep().fail_file_operation(i); });
  std::printf("%llu operations failed, one in each life\n", static_cast<unsigned long long>(n - 1));
  EXPECT_GT(n, 100U);
}

TEST(Store, EveryAllocationOfSqliteMayFailOnce) {
  ASSERT_TRUE(memory_is_ours);
  const std::uint64_t n = sweep([](std::uint64_t i) { return Sweep().fail_allocation(i); });
  std::printf("%llu allocations failed, one in each life\n", static_cast<unsigned long long>(n - 1));
  EXPECT_GT(n, 100U);
}

TEST(Store, EveryAccessToTheSpareMayFailOnce) {
  const std::uint64_t n = sweep([](std::uint64_t i) { return Sweep().fail_access_to_spare(i); });
  std::printf("%llu accesses failed, one in each life\n", static_cast<unsigned long long>(n - 1));
  EXPECT_GT(n, 20U);
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
