// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "store/sqlite_map_store.hpp"
#include "support/create_spec.hpp"
#include "support/forwarding_store.hpp"
#include "support/temp_dir.hpp"
#include "support/volume_rig.hpp"

namespace remapfs::testing {

// The real store, held against a mirror in memory: what it loads must be what was committed.
class MirroredStore final : public ForwardingStore {
 public:
  MirroredStore(std::unique_ptr<store::SqliteMapStore> real, MemoryMap& mirror, const bool& abandoned)
      : ForwardingStore(std::move(real)), mirror_(mirror), abandoned_(abandoned) {}

  Result<void> load(const std::function<Result<void>(std::span<const RemapRow>)>& visit) override {
    auto expected = mirror_.rows.begin();
    auto loaded = inner().load([&](std::span<const RemapRow> rows) -> Result<void> {
      for (const RemapRow& row : rows) {
        if (expected == mirror_.rows.end() || !same(row, expected->second)) {
          ADD_FAILURE() << "block " << row.block.value() << " was not committed like that";
          return fail(Errc::corrupt);
        }
        ++expected;
      }
      return visit(rows);
    });
    if (loaded && expected != mirror_.rows.end()) {
      ADD_FAILURE() << "the row of block " << expected->first << " is gone";
    }
    return loaded;
  }

  Result<std::optional<RemapRow>> find_row(BlockIndex block) override {
    auto row = inner().find_row(block);
    if (row) {
      const auto expected = mirror_.rows.find(block.value());
      EXPECT_EQ(row->has_value(), expected != mirror_.rows.end()) << "block " << block.value();
      if (*row && expected != mirror_.rows.end()) {
        EXPECT_TRUE(same(**row, expected->second)) << "block " << block.value();
      }
    }
    return row;
  }

  tl::expected<CommitReport, CommitFailure> commit(const MapTransaction& transaction) override {
    auto report = inner().commit(transaction);
    if (report || !report.error().unfinished.empty()) mirror_.apply(transaction);
    return report;
  }

  // A process that is killed closes nothing.
  Result<void> close() override { return abandoned_ ? Result<void>() : inner().close(); }

 private:
  // The sequence is the store's own business.
  static bool same(const RemapRow& a, const RemapRow& b) {
    return a.block == b.block && a.state == b.state && (a.state != EntryState::remapped || a.where == b.where) &&
           a.valid_mask == b.valid_mask && a.written_mask == b.written_mask && a.cause == b.cause &&
           a.error_count == b.error_count;
  }

  MemoryMap& mirror_;
  const bool& abandoned_;
};

// Keeps the map of a VolumeRig with one spare in a SQLite file. In memory: syncing a real disk for every commit would
// take most of the time.
class SqliteBackend final : public MapBackend {
 public:
  void create(const RigOptions& options, MemoryMap& map, FakeDisk& spare) override {
    auto created =
        store::create_volume(simulated_spec(path_, ByteCount(options.disk_bytes), options.block_size), spare);
    ASSERT_TRUE(created) << describe(created.error());
    map.info = *created;
  }

  Result<std::unique_ptr<MapStore>> open(MemoryMap& map, BlockDevice& spare) override {
    abandoned_ = false;
    auto real = store::SqliteMapStore::open(path_, {});
    if (!real) return fail(real.error());
    if (auto attached = (*real)->attach_spare(1, spare); !attached) return fail(attached.error());
    return std::make_unique<MirroredStore>(std::move(*real), map, abandoned_);
  }

  void abandon() override { abandoned_ = true; }

 private:
  TempDir directory_{std::filesystem::exists("/dev/shm") ? "/dev/shm" : std::filesystem::temp_directory_path()};
  const std::string path_ = directory_ / "volume.map";
  bool abandoned_ = false;
};

}  // namespace remapfs::testing
