// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <utility>

#include "store/new_spare.hpp"
#include "unit/store/store_fixture.hpp"

namespace remapfs::store {

// A volume that has been given a second spare.
class TwoSpares : public StoreTest {
 protected:
  TwoSpares() {
    create();
    second_ = testing::FakeDisk::with_logical_block(ByteCount(6 * kMiB), 4096);
    open();
    const SpareInfo joining = make_ready(*second_, 2);
    EXPECT_TRUE(store().add_spare(joining, "a disk", *second_).has_value());
    close();
    open_both();
  }
  // Makes the device a spare of the open volume that the map does not know yet.
  SpareInfo make_ready(testing::FakeDisk& device, SpareId id) {
    const auto superblock = design_spare(store().info(), id, device);
    EXPECT_TRUE(superblock.has_value());
    EXPECT_TRUE(initialise_spare(device, *superblock, false).has_value());
    return {id, "/more", superblock->spare.to_string(), superblock->layout.slots, superblock->layout.first_slot,
            {}, false};
  }
  Result<void> try_open_both() { return reopen({{1, &spare()}, {2, second_.get()}}); }
  Result<void> reopen(const std::map<SpareId, BlockDevice*>& spares, const OpenOptions& options = {}) {
    rows_.clear();
    store_.reset();
    auto store = SqliteMapStore::open(map_path(), options);
    if (!store) return fail(std::move(store.error()));
    for (const auto& [id, device] : spares) {
      if (auto done = (*store)->attach_spare(id, *device); !done) return done;
    }
    auto loaded = (*store)->load([&](std::span<const RemapRow> rows) -> Result<void> {
      for (const RemapRow& row : rows) rows_.emplace(row.block, row);
      return {};
    });
    if (loaded) store_ = std::move(*store);
    return loaded;
  }
  void open_both() { ASSERT_OK(try_open_both()); }
  MapChange put_on(SpareId id, std::uint64_t block, std::uint64_t slot) const {
    MapChange change = put_remapped(block, slot);
    change.row.where.spare = id;
    return change;
  }
  MapChange move_over(std::uint64_t block, SlotAddress from, SlotAddress to) const {
    MapChange change = put_on(to.spare, block, to.slot.value());
    change.vacated = from;
    return change;
  }

  std::unique_ptr<testing::FakeDisk> second_;
};

}  // namespace remapfs::store
