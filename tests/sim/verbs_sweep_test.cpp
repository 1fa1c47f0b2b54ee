// SPDX-License-Identifier: Apache-2.0
#include <SQLiteCpp/SQLiteCpp.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <type_traits>

#include "sim/failing_calls.hpp"
#include "sim/scheduler.hpp"
#include "sim/sim_device.hpp"
#include "sim/sim_files.hpp"
#include "sim/sim_folder.hpp"
#include "sim/world.hpp"
#include "store/backup.hpp"
#include "store/check.hpp"
#include "store/new_spare.hpp"
#include "store/recover.hpp"
#include "store/repair.hpp"
#include "store/spare_superblocks.hpp"
#include "store/sqlite_map_store.hpp"
#include "support/create_spec.hpp"
#include "support/fake_disk.hpp"
#include "support/random.hpp"
#include "support/soak.hpp"
#include "support/temp_dir.hpp"

// What makes and mends maps: whatever it asks of files, of the folder, of memory and of the spare fails once, in turn,
// until a run needs no failure; and power is lost at every change. Afterwards there is what there was before, or what
// was to be.

namespace remapfs::sim {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kRows = 5;

class VerbLife {
 protected:
  VerbLife() = default;

  void make_volume() {
    const auto created = create();
    ASSERT_TRUE(created) << describe(created.error());
    auto opened = store::SqliteMapStore::open_loaded(path_, {}, {{SpareId{1}, spare_.get()}});
    ASSERT_TRUE(opened) << describe(opened.error());
    MapTransaction transaction;
    for (std::uint64_t i = 0; i < kRows; ++i) {
      MapChange change;
      change.block = change.row.block = BlockIndex(i * 3);
      change.row.state = EntryState::remapped;
      change.row.where = {1, SlotIndex(i)};
      change.row.valid_mask = change.row.written_mask = 0xFF;
      change.row.cause = Cause::write_error;
      change.row.error_count = 1;
      transaction.changes.push_back(change);
    }
    ASSERT_TRUE((*opened)->commit(transaction));
    ASSERT_TRUE((*opened)->close());
  }
  Result<VolumeInfo> create() {
    return store::create_volume(testing::simulated_spec(path_, ByteCount(1 << 20), 4096), device_);
  }

  Result<store::Repair> repair() { return store::repair_map(path_, {{SpareId{1}, &device_}}); }
  store::RecoverySpec spec() {
    store::RecoverySpec spec;
    spec.map_path = other_;
    spec.primary_path = "/primary";
    spec.primary_size = ByteCount(1 << 20);
    spec.spares.push_back({&device_, "/spare", ""});
    spec.check_primary = [](const std::string&) -> Result<void> { return {}; };
    return spec;
  }

  // How many rows a map has that a mount would take; nothing when it would not.
  std::optional<std::uint64_t> rows_of(const std::string& path) {
    std::uint64_t count = 0;
    auto opened = store::SqliteMapStore::open(path, {.read_only = true, .degraded = false});
    if (!opened || !(*opened)->attach_spare(1, *spare_)) return std::nullopt;
    const auto loaded = (*opened)->load([&](std::span<const RemapRow> rows) -> Result<void> {
      count += rows.size();
      return {};
    });
    return loaded ? std::optional(count) : std::nullopt;
  }
  [[nodiscard]] std::set<std::string> names() const {
    std::set<std::string> found;
    for (const auto& entry : fs::directory_iterator(directory_.path())) found.insert(entry.path().filename());
    return found;
  }
  static std::string contents(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void damage_index() const {
    SQLite::Database database(path_, SQLite::OPEN_READONLY);
    const auto page =
        database.execAndGet("SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_autoindex_remaps_1'");
    std::fstream file(path_, std::ios::binary | std::ios::in | std::ios::out);
    file.seekp((page.getInt64() - 1) * 4096);
    file << std::string(4096, 'x');
  }

  const SimulatedTime time_;
  World world_{1};
  const testing::TempDir directory_{"/dev/shm"};
  const std::string path_ = directory_ / "map";
  const std::string other_ = directory_ / "other";
  std::unique_ptr<testing::FakeDisk> spare_ = testing::FakeDisk::with_logical_block(ByteCount(4 << 20), 512);
  SimDevice device_{*spare_, world_};
};

// What can fail.
enum class Failing { file, call, memory, spare };

class VerbSweep : public VerbLife {
 public:
  VerbSweep(Failing what, std::uint64_t n) : what_(what), n_(n) {}

  bool fail_create() {
    const auto done = with_failure([&] { return create(); });
    const auto copies = store::read_superblocks(*spare_);
    if (done) {
      EXPECT_EQ(rows_of(path_), 0U);
    } else {
      EXPECT_EQ(names(), std::set<std::string>{}) << describe(done.error());
      // What the spare itself refuses may stay there.
      if (what_ != Failing::spare) {
        for (const store::Copy copy : store::kCopies) EXPECT_FALSE(copies[copy]) << describe(done.error());
      }
      // Nothing is in the way of another try.
      EXPECT_TRUE(create());
    }
    return failed_;
  }

  bool fail_recover() {
    make_volume();
    const auto done = with_failure([&] { return store::recover_map(spec()); });
    if (done) {
      EXPECT_EQ(rows_of(other_), kRows);
    } else {
      EXPECT_EQ(names(), std::set<std::string>{"map"}) << describe(done.error().error);
      EXPECT_TRUE(store::recover_map(spec()));
    }
    EXPECT_EQ(rows_of(path_), kRows);
    return failed_;
  }

  bool fail_backup() {
    make_volume();
    const std::string before = contents(path_);
    const auto done = with_failure([&] { return store::backup_map(path_, other_); });
    if (done) {
      EXPECT_EQ(rows_of(other_), kRows);
    } else {
      EXPECT_EQ(names(), std::set<std::string>{"map"}) << describe(done.error());
    }
    EXPECT_TRUE(contents(path_) == before);
    return failed_;
  }

  bool fail_repair() {
    make_volume();
    damage_index();
    const std::string damaged = contents(path_);
    const auto done = with_failure([&] { return repair(); });
    // A name that cannot be asked about is not taken.
    const std::string kept = done && !done->kept_as.empty() ? done->kept_as : path_ + ".damaged";
    const bool mended = done && done->left.empty();
    if (mended) {
      EXPECT_TRUE(contents(kept) == damaged);
    } else if (fs::exists(path_) && contents(path_) != damaged) {
      // It has its new name, and nobody knows whether durably.
      EXPECT_TRUE(contents(kept) == damaged);
    } else {
      EXPECT_TRUE(contents(path_) == damaged) << "the old map is gone";
      for (const std::string& name : names()) EXPECT_FALSE(name.starts_with(".")) << name;
      const auto again = repair();
      EXPECT_TRUE(again && again->left.empty()) << "it cannot be mended any more";
    }
    EXPECT_EQ(rows_of(path_), kRows);
    return failed_;
  }

 private:
  // Runs the verb with one failure, and sees whether it came to it.
  template <class Verb>
  std::invoke_result_t<Verb> with_failure(Verb&& verb) {
    SimFiles files(world_);
    switch (what_) {
      case Failing::file: files.fail_nth(SimFiles::What::anything, n_); break;
      case Failing::call: failing_calls.until_failure = n_; break;
      case Failing::memory: sqlite_memory.until_failure = n_; break;
      case Failing::spare: spare_->fail_nth(n_); break;
    }
    auto done = verb();
    switch (what_) {
      case Failing::file: failed_ = !files.failure_is_due(); break;
      case Failing::call: failed_ = failing_calls.until_failure == 0; break;
      case Failing::memory: failed_ = sqlite_memory.until_failure == 0; break;
      case Failing::spare: failed_ = spare_->nth_failed(); break;
    }
    failing_calls.until_failure = sqlite_memory.until_failure = 0;
    spare_->fail_nth(0);
    return done;
  }

  const Failing what_;
  const std::uint64_t n_;
  bool failed_ = false;
};

class Verbs : public ::testing::TestWithParam<Failing> {
 protected:
  template <class Body>
  static void sweep(const char* verb, std::uint64_t at_least, Body&& body) {
    // Allocations are many, and much alike.
    const bool all = GetParam() != Failing::memory || testing::soaking();
    const std::uint64_t stride = all ? 1 : 31;
    const std::uint64_t seed = testing::test_seed();
    SCOPED_TRACE(testing::seed_message(seed));
    std::uint64_t failed = 0;
    for (std::uint64_t n = 1 + seed % stride; !HasFailure(); n += stride, ++failed) {
      SCOPED_TRACE(n);
      if (!body(VerbSweep(GetParam(), n))) break;
    }
    std::printf("%s: %llu failed, one in each run\n", verb, static_cast<unsigned long long>(failed));
    EXPECT_GE(failed, at_least);
  }
};

TEST_P(Verbs, CreateIsDoneOrLeavesNothing) {
  sweep("create", 4, [](VerbSweep&& one) { return one.fail_create(); });
}
TEST_P(Verbs, RecoverIsDoneOrLeavesNothing) {
  sweep("recover", 4, [](VerbSweep&& one) { return one.fail_recover(); });
}
TEST_P(Verbs, BackupIsDoneOrLeavesNothing) {
  // A backup is of the map alone.
  sweep("backup", GetParam() == Failing::spare ? 0 : 4, [](VerbSweep&& one) { return one.fail_backup(); });
}
TEST_P(Verbs, RepairIsDoneOrLeavesTheDamagedMap) {
  sweep("repair", 4, [](VerbSweep&& one) { return one.fail_repair(); });
}

INSTANTIATE_TEST_SUITE_P(Once, Verbs, ::testing::Values(Failing::file, Failing::call, Failing::memory, Failing::spare),
                         [](const auto& suite) {
                           return suite.param == Failing::file     ? "FileOperations"
                                  : suite.param == Failing::call   ? "CallsOfTheLibrary"
                                  : suite.param == Failing::memory ? "AllocationsOfSqlite"
                                                                   : "AccessesToTheSpare";
                         });

// A verb that power is lost in, or right after: then it is done.
class VerbCutOff : public VerbLife {
 public:
  VerbCutOff(std::uint64_t n, std::uint64_t seed) : n_(n) {
    for (; seed > 0; --seed) static_cast<void>(world_.random()());
  }

  // False: it was over before that change came.
  bool cut_create() {
    cut([&] { return create().has_value(); });
    if (fs::exists(path_)) {
      EXPECT_EQ(rows_of(path_), 0U);
    } else {
      EXPECT_FALSE(done_);
      EXPECT_TRUE(create()) << "something is in the way of another try";
    }
    return !done_;
  }

  bool cut_recover() {
    make_volume();
    cut([&] { return store::recover_map(spec()).has_value(); });
    if (!fs::exists(other_)) {
      EXPECT_FALSE(done_);
      EXPECT_TRUE(store::recover_map(spec()));
    }
    EXPECT_EQ(rows_of(other_), kRows);
    EXPECT_EQ(rows_of(path_), kRows);
    return !done_;
  }

  bool cut_backup() {
    make_volume();
    const std::string before = contents(path_);
    cut([&] { return store::backup_map(path_, other_).has_value(); });
    if (fs::exists(other_)) {
      EXPECT_EQ(rows_of(other_), kRows);
    } else {
      EXPECT_FALSE(done_);
    }
    EXPECT_TRUE(contents(path_) == before);
    return !done_;
  }

  bool cut_repair() {
    make_volume();
    damage_index();
    const std::string damaged = contents(path_);
    cut([&] {
      const auto done = repair();
      return done && done->left.empty();
    });
    const std::string kept = path_ + ".damaged";
    if (!fs::exists(path_)) {
      EXPECT_FALSE(done_);
      // Between its two names: as the manual says, the old map gets its own back.
      EXPECT_TRUE(contents(kept) == damaged) << "the old map is gone";
      fs::rename(kept, path_);
    }
    if (contents(path_) == damaged) {
      EXPECT_FALSE(done_);
      const auto again = repair();
      EXPECT_TRUE(again && again->left.empty()) << "it cannot be mended any more";
    } else {
      EXPECT_TRUE(contents(kept) == damaged);
    }
    EXPECT_EQ(rows_of(path_), kRows);
    return !done_;
  }

 private:
  template <class Verb>
  void cut(Verb&& verb) {
    SimFiles files(world_);
    SimFolder folder(world_, files, directory_.path());
    world_.cut_after(n_, Cut::power);
    const bool succeeded = verb();
    done_ = !world_.ended();
    if (done_) {
      EXPECT_TRUE(succeeded);
      world_.cut(Cut::power);
    }
    files.lose_power();
    folder.lose_power();
    spare_->crash(world_.random()());
    world_.begin_again();
  }

  const std::uint64_t n_;
  bool done_ = false;
};

// Power is lost at each change, several times each with other remains.
template <class Body>
void cut_off(const char* verb, std::uint64_t at_least, Body&& body) {
  std::uint64_t points = 0;
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    for (std::uint64_t n = 1; !::testing::Test::HasFailure(); ++n, ++points) {
      SCOPED_TRACE(::testing::Message() << "change " << n << ", seed " << seed);
      if (!body(VerbCutOff(n, seed))) break;
    }
  }
  std::printf("%s: cut off at %llu points\n", verb, static_cast<unsigned long long>(points));
  EXPECT_GE(points, at_least);
}

TEST(VerbsCutOff, CreateIsDoneOrMayBeTriedAgain) {
  cut_off("create", 100, [](VerbCutOff&& one) { return one.cut_create(); });
}
TEST(VerbsCutOff, RecoverIsDoneOrMayBeTriedAgain) {
  cut_off("recover", 100, [](VerbCutOff&& one) { return one.cut_recover(); });
}
TEST(VerbsCutOff, BackupIsDoneOrIsNotThere) {
  cut_off("backup", 100, [](VerbCutOff&& one) { return one.cut_backup(); });
}
TEST(VerbsCutOff, RepairIsDoneOrMayBeTriedAgain) {
  cut_off("repair", 100, [](VerbCutOff&& one) { return one.cut_repair(); });
}

}  // namespace
}  // namespace remapfs::sim
