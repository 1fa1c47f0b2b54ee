// SPDX-License-Identifier: Apache-2.0
#include "unit/store/store_fixture.hpp"

#include <SQLiteCpp/SQLiteCpp.h>

#include <filesystem>
#include <fstream>
#include <iterator>

namespace remapfs::store {

void StoreTest::create(std::uint64_t block_size, std::uint64_t blocks, std::uint32_t logical_block,
                       std::uint64_t spare_bytes) {
  block_size_ = block_size;
  spare_ = testing::FakeDisk::with_logical_block(ByteCount(spare_bytes), logical_block);
  CreateSpec spec;
  spec.map_path = map_path_;
  spec.label = "test";
  spec.block_size = block_size;
  spec.size = ByteCount(blocks * block_size);
  spec.primary_path = "/primary";
  spec.primary_identity = "disk of a test";
  spec.spare_path = "/spare";
  ASSERT_OK(create_volume(spec, *spare_));
}

Result<void> StoreTest::try_open(const OpenOptions& options) {
  rows_.clear();
  store_.reset();
  auto store = SqliteMapStore::open(map_path_, options);
  if (!store) return fail(std::move(store.error()));
  if (auto attached = (*store)->attach_spare(1, *spare_); !attached) return attached;
  auto loaded = (*store)->load([&](std::span<const RemapRow> rows) -> Result<void> {
    for (const RemapRow& row : rows) EXPECT_TRUE(rows_.emplace(row.block, row).second);
    return {};
  });
  if (!loaded) return loaded;
  store_ = std::move(*store);
  return {};
}

void StoreTest::open(const OpenOptions& options) { ASSERT_OK(try_open(options)); }

void StoreTest::close() {
  ASSERT_OK(store_->close());
  store_.reset();
}

void StoreTest::crash(std::uint64_t seed) {
  kill();
  spare_->crash(seed);
}

MapChange StoreTest::put_remapped(std::uint64_t block, std::uint64_t slot) const {
  const SectorMask all = BlockGeometry(block_size_).full_mask();
  MapChange change;
  change.block = BlockIndex(block);
  change.row.block = change.block;
  change.row.state = EntryState::remapped;
  change.row.where = {1, SlotIndex(slot)};
  change.row.valid_mask = all;
  change.row.written_mask = all;
  change.row.cause = Cause::write_error;
  change.row.error_count = 1;
  return change;
}

MapChange StoreTest::move(std::uint64_t block, std::uint64_t from, std::uint64_t to) const {
  MapChange change = put_remapped(block, to);
  change.row.cause = Cause::slot_error;
  change.vacated = SlotAddress{1, SlotIndex(from)};
  return change;
}

MapChange StoreTest::put_lost(std::uint64_t block, SectorMask valid) {
  MapChange change;
  change.block = BlockIndex(block);
  change.row.block = change.block;
  change.row.state = EntryState::lost;
  change.row.valid_mask = valid;
  change.row.cause = Cause::read_error;
  change.row.error_count = 1;
  return change;
}

MapChange StoreTest::erase(std::uint64_t block) {
  MapChange change;
  change.kind = MapChange::Kind::erase;
  change.block = BlockIndex(block);
  return change;
}

void StoreTest::commit(const MapTransaction& transaction) {
  const auto report = store_->commit(transaction);
  ASSERT_TRUE(report.has_value()) << describe(report.error().error);
  ASSERT_TRUE(report->uncleared.empty());
}

void StoreTest::sql(const std::string& statements) const {
  SQLite::Database database(map_path_, SQLite::OPEN_READWRITE);
  database.exec(statements);
}

void StoreTest::damage_root_of(const std::string& name) const {
  SQLite::Database database(map_path(), SQLite::OPEN_READONLY);
  SQLite::Statement select(database, "SELECT rootpage FROM sqlite_schema WHERE name = ?");
  select.bind(1, name);
  ASSERT_TRUE(select.executeStep());
  const auto page = select.getColumn(0).getInt64();
  std::fstream file(map_path(), std::ios::binary | std::ios::in | std::ios::out);
  file.seekp((page - 1) * 4096);
  file << std::string(4096, 'x');
}

std::vector<Finding> StoreTest::findings() {
  auto found = check_map(map_path_, {{SpareId{1}, spare_.get()}});
  EXPECT_TRUE(found.has_value()) << describe(found.error());
  if (!found) return {};
  std::erase_if(*found, [](const Finding& finding) { return finding.severity == Finding::Severity::note; });
  return *found;
}

StoreTest::Files StoreTest::save_map() const {
  Files files;
  for (const char* suffix : {"", "-wal"}) {
    std::ifstream in(map_path_ + suffix, std::ios::binary);
    if (in) files.content[suffix] = std::string(std::istreambuf_iterator<char>(in), {});
  }
  return files;
}

void StoreTest::restore_map(const Files& files) const {
  for (const char* suffix : {"", "-wal", "-shm"}) std::filesystem::remove(map_path_ + suffix);
  for (const auto& [suffix, content] : files.content) {
    std::ofstream(map_path_ + suffix, std::ios::binary) << content;
  }
}

std::vector<std::byte> StoreTest::save_spare() const {
  return spare_->peek({ByteOffset(0), ByteOffset(spare_->geometry().size.value())});
}

void StoreTest::restore_spare(const std::vector<std::byte>& bytes) { spare_->poke(ByteOffset(0), bytes); }

std::uint64_t StoreTest::tag_sector(Copy copy, std::uint64_t slot) const {
  return layout().tags[static_cast<std::size_t>(copy)].value() / kSectorSize + tag_place(SlotIndex(slot)).sector;
}

Superblock StoreTest::superblock_on_disk(Copy copy) const {
  std::vector<std::byte> bytes(kSuperblockBytes);
  spare_->peek(layout().superblock[static_cast<std::size_t>(copy)], bytes);
  auto superblock = decode_superblock(bytes);
  EXPECT_TRUE(superblock.has_value());
  return superblock ? *superblock : Superblock{};
}

Tag StoreTest::tag_on_disk(Copy copy, std::uint64_t slot) const {
  std::vector<std::byte> bytes(kTagBytes);
  spare_->peek(ByteOffset(tag_sector(copy, slot) * kSectorSize + tag_place(SlotIndex(slot)).in_sector), bytes);
  return decode_tag(bytes, superblock_on_disk(Copy::a).spare, SlotIndex(slot));
}

}  // namespace remapfs::store
