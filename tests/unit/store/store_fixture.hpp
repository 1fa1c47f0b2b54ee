// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "remapfs/map_store.hpp"
#include "store/check.hpp"
#include "store/create_volume.hpp"
#include "store/sqlite_map_store.hpp"
#include "support/fake_disk.hpp"
#include "support/temp_dir.hpp"

namespace remapfs::store {

inline constexpr std::uint64_t kMiB = std::uint64_t{1} << 20U;
using Rows = std::map<BlockIndex, RemapRow>;

// A volume on a simulated spare, and ways to open, load, crash and damage it.
class StoreTest : public ::testing::Test {
 protected:
  // Makes the volume. blocks: size of the virtual disk.
  void create(std::uint64_t block_size = 4096, std::uint64_t blocks = 100'000, std::uint32_t logical_block = 512,
              std::uint64_t spare_bytes = 8 * kMiB);
  // Opens, attaches the spare, loads into rows(). Fails the test when that fails.
  void open(const OpenOptions& options = {});
  // The same, answering what went wrong.
  Result<void> try_open(const OpenOptions& options = {});
  void close();
  // As after kill -9: the store goes away without closing.
  void kill() { store_.reset(); }
  // Power loss: the store goes away, and of the spare's unsynced sectors a random choice.
  void crash(std::uint64_t seed);

  [[nodiscard]] SqliteMapStore& store() { return *store_; }
  [[nodiscard]] testing::FakeDisk& spare() { return *spare_; }
  [[nodiscard]] const Rows& rows() const { return rows_; }
  [[nodiscard]] const std::string& map_path() const { return map_path_; }
  [[nodiscard]] SectorMask full() const { return BlockGeometry(store_->info().block_size).full_mask(); }
  [[nodiscard]] SpareLayout layout() const { return SpareLayout::of(spare_->geometry().size, block_size_); }

  MapChange put_remapped(std::uint64_t block, std::uint64_t slot) const;
  MapChange move(std::uint64_t block, std::uint64_t from, std::uint64_t to) const;
  static MapChange put_lost(std::uint64_t block, SectorMask valid);
  static MapChange erase(std::uint64_t block);
  void commit(const MapTransaction& transaction);

  // Runs SQL on the map while it is not open, as somebody with sqlite3 would.
  void sql(const std::string& statements) const;
  // Writes over the first page of a table or index.
  void damage_root_of(const std::string& name) const;
  // What check_map() says, without the notes.
  [[nodiscard]] std::vector<Finding> findings();
  // The map and its log, as files in memory, and back.
  struct Files {
    std::map<std::string, std::string> content;
  };
  [[nodiscard]] Files save_map() const;
  void restore_map(const Files& files) const;
  // The whole spare, and back.
  [[nodiscard]] std::vector<std::byte> save_spare() const;
  void restore_spare(const std::vector<std::byte>& bytes);

  [[nodiscard]] Tag tag_on_disk(Copy copy, std::uint64_t slot) const;
  [[nodiscard]] Superblock superblock_on_disk(Copy copy) const;
  // Byte range of the sector that holds the tag of a slot.
  [[nodiscard]] std::uint64_t tag_sector(Copy copy, std::uint64_t slot) const;

  testing::TempDir directory_;
  std::string map_path_ = directory_ / "volume.map";
  std::uint64_t block_size_ = 4096;
  std::unique_ptr<testing::FakeDisk> spare_;
  std::unique_ptr<SqliteMapStore> store_;
  Rows rows_;
};

// The fields a caller of commit() decides.
inline bool same_content(const RemapRow& l, const RemapRow& r) {
  return l.block == r.block && l.mapping() == r.mapping() && l.written_mask == r.written_mask && l.cause == r.cause &&
         l.error_count == r.error_count;
}

}  // namespace remapfs::store

#define ASSERT_OK(expression)                                          \
  do {                                                                 \
    const auto& ok_result = (expression);                              \
    ASSERT_TRUE(ok_result.has_value()) << describe(ok_result.error()); \
  } while (false)
