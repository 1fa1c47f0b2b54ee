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
#include "sim/sim_files.hpp"
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
#include "support/temp_dir.hpp"

// What makes and mends maps: whatever it asks of files, of the folder and of the spare fails once, in turn, until a run
// needs no failure. Afterwards there is what there was before, or what was to be.

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
    return store::create_volume(testing::simulated_spec(path_, ByteCount(1 << 20), 4096), *spare_);
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
};

// What can fail.
enum class Failing { file, call, spare };

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
    EXPECT_EQ(contents(path_), before);
    return failed_;
  }

  bool fail_repair() {
    make_volume();
    damage_index();
    const std::string damaged = contents(path_);
    const auto done = with_failure([&] { return store::repair_map(path_, {{SpareId{1}, spare_.get()}}); });
    const std::string kept = path_ + ".damaged";
    const bool mended = done && done->left.empty();
    if (mended) {
      EXPECT_EQ(contents(kept), damaged);
    } else if (fs::exists(path_) && contents(path_) != damaged) {
      // It has its new name, and nobody knows whether durably.
      EXPECT_EQ(contents(kept), damaged);
    } else {
      EXPECT_EQ(contents(path_), damaged) << "the old map is gone";
      for (const std::string& name : names()) EXPECT_FALSE(name.starts_with(".")) << name;
      const auto again = store::repair_map(path_, {{SpareId{1}, spare_.get()}});
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
      case Failing::spare: spare_->fail_nth(n_); break;
    }
    auto done = verb();
    switch (what_) {
      case Failing::file: failed_ = !files.failure_is_due(); break;
      case Failing::call: failed_ = failing_calls.until_failure == 0; break;
      case Failing::spare: failed_ = spare_->nth_failed(); break;
    }
    failing_calls.until_failure = 0;
    spare_->fail_nth(0);
    return done;
  }

  store::RecoverySpec spec() {
    store::RecoverySpec spec;
    spec.map_path = other_;
    spec.primary_path = "/primary";
    spec.primary_size = ByteCount(1 << 20);
    spec.spares.push_back({spare_.get(), "/spare", ""});
    spec.check_primary = [](const std::string&) -> Result<void> { return {}; };
    return spec;
  }

  const Failing what_;
  const std::uint64_t n_;
  bool failed_ = false;
};

class Verbs : public ::testing::TestWithParam<Failing> {
 protected:
  template <class Body>
  static void sweep(const char* verb, std::uint64_t at_least, Body&& body) {
    std::uint64_t n = 1;
    for (; !HasFailure(); ++n) {
      SCOPED_TRACE(n);
      if (!body(VerbSweep(GetParam(), n))) break;
    }
    std::printf("%s: %llu failed, one in each run\n", verb, static_cast<unsigned long long>(n - 1));
    EXPECT_GE(n - 1, at_least);
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

INSTANTIATE_TEST_SUITE_P(Once, Verbs, ::testing::Values(Failing::file, Failing::call, Failing::spare),
                         [](const auto& suite) {
                           return suite.param == Failing::file   ? "FileOperations"
                                  : suite.param == Failing::call ? "CallsOfTheLibrary"
                                                                 : "AccessesToTheSpare";
                         });

}  // namespace
}  // namespace remapfs::sim
