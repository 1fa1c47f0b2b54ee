// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <utility>

#include "store/new_spare.hpp"
#include "store/sql.hpp"
#include "store/sqlite_map_store.hpp"

// Spares that join and leave a volume in use. A spare is prepared before the map knows it, and wiped after the map has
// forgotten it: whatever crash comes in between leaves a device that nobody counts on.

namespace remapfs::store {

void SqliteMapStore::know_rules() {
  std::vector<Sequence> sequences;
  for (const SpareRecord& spare : record_.spares) sequences.push_back(spare.sequence);
  rules_.emplace(record_.info, std::move(sequences));
}

Result<void> SqliteMapStore::ready_to_change() const {
  if (state_ == State::failed || state_ == State::closed) {
    return fail(Errc::failed, fmt::format("{}, an earlier commit failed, unmount and mount again", lock_.path()));
  }
  REMAPFS_INVARIANT(state_ == State::loaded);
  if (!writer_) return fail(Errc::read_only, fmt::format("{}, the volume is read-only", lock_.path()));
  return in_place();
}

// Runs the change in a transaction of its own. After commit_unknown the store takes no further one.
Result<void> SqliteMapStore::durably(const std::function<Result<void>()>& change) {
  Result<void> staged = writer_->begin();
  if (staged) staged = change();
  if (staged) staged = writer_->prepare();
  if (!staged) {
    if (auto rolled_back = writer_->rollback(); !rolled_back) {
      state_ = State::failed;
      return fail(Errc::commit_unknown, describe(rolled_back.error()));
    }
    return staged;
  }
  if (auto committed = writer_->commit(); !committed) {
    state_ = State::failed;
    return fail(Errc::commit_unknown, describe(committed.error()));
  }
  return {};
}

Result<void> SqliteMapStore::add_spare(const SpareInfo& spare, const std::string& identity, BlockDevice& device) {
  if (auto ready = ready_to_change(); !ready) return ready;
  const SpareLayout layout = SpareLayout::of(device.geometry().size, record_.info.block_size);
  const auto volume = Uuid::parse(record_.info.uuid);
  const auto uuid = Uuid::parse(spare.uuid);
  const auto refuse = [&](const std::string& why) {
    return fail(Errc::invalid,
                fmt::format("{}, not a spare that was made ready for this volume ({}), use `remapfs spare "
                            "add`",
                            device.name(), why));
  };
  if (!volume || !uuid || spare.id == 0) return refuse("its number or uuid");
  if (spare.slots != layout.slots || spare.first_slot != layout.first_slot) return refuse("its size");
  const ExpectedSpare expected{*volume, *uuid, spare.id, layout};
  const SuperblockCopies copies = read_superblocks(device, layout);
  const auto superblock = choose_superblock(copies, expected, device.name());
  if (!superblock) return fail(superblock.error());
  if (!copies.agree() || superblock->watermark != Sequence(0) || superblock->rows != RowTotals{})
    return refuse("in use");
  const auto known = writer_->is_known(spare.id);
  if (!known) return fail(known.error());
  if (*known) return refuse(fmt::format("there has been a spare {}", spare.id));

  auto added = durably([&] { return writer_->add_spare(spare, identity, layout.device_size); });
  if (!added) return added;
  spares_.emplace(spare.id, Spare{record_.spares.size(), TagTable(device, layout, *uuid), *superblock});
  record_.info.spares.push_back(spare);
  record_.spares.push_back({expected, Sequence(0)});
  record_.known.set(spare.id);
  know_rules();
  // Whoever recovers has to know of it from the first block that it takes; and it was made ready by somebody who may
  // not have known all that it has to say.
  tell_spares();
  return {};
}

void SqliteMapStore::wipe_spare(BlockDevice& device) const {
  wipe_superblocks(device, SpareLayout::of(device.geometry().size, record_.info.block_size));
}

Result<void> SqliteMapStore::retire_spare(SpareId id) {
  if (auto ready = ready_to_change(); !ready) return ready;
  const auto found = spares_.find(id);
  // It may be the only one that has its part.
  if (!unfinished_.empty()) {
    return fail(Errc::suspended,
                fmt::format("{}, a spare lacks a part of a commit, run remapfs resume first", lock_.path()));
  }
  const auto used = writer_->is_used(id);
  if (!used) return fail(used.error());
  if (found == spares_.end() || *used || spares_.size() == 1) {
    return fail(Errc::invalid,
                fmt::format("{}, spare {} cannot leave, it is the only one or in use", lock_.path(), id));
  }
  auto retired = durably([&] { return writer_->retire_spare(id); });
  if (!retired) return retired;
  const std::size_t position = found->second.position;
  spares_.erase(found);
  for (auto& [other, spare] : spares_) {
    if (spare.position > position) --spare.position;
  }
  record_.info.spares.erase(record_.info.spares.begin() + static_cast<std::ptrdiff_t>(position));
  record_.spares.erase(record_.spares.begin() + static_cast<std::ptrdiff_t>(position));
  std::erase_if(record_.bad_tag_slots, [&](const SlotAddress& slot) { return slot.spare == id; });
  std::erase_if(retired_, [&](const SlotAddress& slot) { return slot.spare == id; });
  know_rules();
  // The others are told before the next commit, or when the volume is closed: whoever waits for this may hold up
  // everybody.
  untold_ = true;
  return {};
}

}  // namespace remapfs::store
