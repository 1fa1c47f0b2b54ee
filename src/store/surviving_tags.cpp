// SPDX-License-Identifier: Apache-2.0
#include "store/surviving_tags.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "store/row_codec.hpp"
#include "store/spare_superblocks.hpp"
#include "store/sql.hpp"
#include "store/tag_table.hpp"

namespace remapfs::store {
namespace {

constexpr std::size_t kNamed = 100;

bool damaged(const Tag& tag) { return tag.kind == Tag::Kind::invalid || tag.kind == Tag::Kind::unreadable; }

const char* damaged_copies(const Tag& a, const Tag& b) {
  if (!damaged(a)) return "tag B";
  return damaged(b) ? "tags A and B" : "tag A";
}

// The superblock of the later commit; both have to be of one spare.
Result<Superblock> latest(const SuperblockCopies& copies, const std::string& device) {
  const Result<Superblock>& a = copies[Copy::a];
  const Result<Superblock>& b = copies[Copy::b];
  const Superblock* best = nullptr;
  for (const Result<Superblock>* copy : {&a, &b}) {
    if (!*copy && copy->error().code == Errc::too_new) {
      return fail(Errc::too_new, fmt::format("spare {}, made by a newer remapfs, use that version", device));
    }
    if (*copy && (best == nullptr || (*copy)->watermark > best->watermark)) best = &**copy;
  }
  if (best == nullptr) {
    const bool was_one = a.error().code == Errc::corrupt || b.error().code == Errc::corrupt;
    if (was_one) {
      return fail(Errc::corrupt,
                  fmt::format("spare {}, no superblock is whole (A: {}; B: {}): nothing vouches for its tags, bring "
                              "the map back",
                              device, describe(a.error()), describe(b.error())));
    }
    return fail(Errc::foreign, fmt::format("spare {}, no remapfs spare is there (A: {}; B: {}), give the spare of "
                                           "the volume",
                                           device, describe(a.error()), describe(b.error())));
  }
  if (a && b && (a->volume != b->volume || a->spare != b->spare || a->id != b->id || a->layout != b->layout)) {
    return fail(Errc::corrupt,
                fmt::format("spare {}, its superblocks are those of two spares, give the spare as it was", device));
  }
  if (best->volume_size.value() == 0) {
    return fail(Errc::corrupt,
                fmt::format("spare {}, was last mounted by an early version that did not note what this needs; bring "
                            "the map back",
                            device));
  }
  Superblock chosen = *best;
  if (a && b && a->watermark == b->watermark) {
    // What is written without a new watermark may have reached one of them.
    chosen.hides_losses = a->hides_losses || b->hides_losses;
    chosen.between_spares = a->between_spares || b->between_spares;
    const auto all = a->spares.numbers | b->spares.numbers;
    const bool either = all == a->spares.numbers || all == b->spares.numbers;
    chosen.spares = all == a->spares.numbers ? a->spares : b->spares;
    // Nothing that can be told.
    if (!either || (a->spares.numbers == b->spares.numbers && a->spares != b->spares)) chosen.spares = {};
  }
  return chosen;
}

// A block whose last trace is a tag of the commit after the watermark.
struct CutOff {
  SlotIndex slot;
  BlockIndex block;
};

class Reading {
 public:
  Reading(BlockDevice& device, const SuperblockCopies& copies, const Superblock& superblock)
      : device_(device),
        table_(device, superblock.layout, superblock.spare),
        both_superblocks_(copies[Copy::a] && copies[Copy::b]) {
    result_.superblock = superblock;
  }

  Result<SurvivingTags> run() {
    TagReader reader_a(table_, Copy::a);
    TagReader reader_b(table_, Copy::b);
    for (std::uint64_t i = 0; i < table_.layout().slots; ++i) {
      auto a = reader_a.at(SlotIndex(i));
      if (!a) return fail(std::move(a.error()));
      auto b = reader_b.at(SlotIndex(i));
      if (!b) return fail(std::move(b.error()));
      if (auto taken = take(SlotIndex(i), *a, *b); !taken) return fail(std::move(taken.error()));
    }
    keep_latest_of_each_block();
    prove();
    keep_cut_off_blocks();
    if (result_.proven) return std::move(result_);
    // Fewer than those, or others: nothing that was cut off leaves that.
    const bool as_cut_off = found_.count > result_.superblock.rows.count;
    if (both_superblocks_ && !newer_than_superblock_ && !something_is_damaged_ && !as_cut_off) {
      return fail(Errc::corrupt,
                  fmt::format("spare {}, its tags are whole, but not those that its superblock vouches for ({} blocks, "
                              "not {}): parts of it were overwritten or are older than others; bring the map back",
                              device_.name(), found_.count, result_.superblock.rows.count));
    }
    settle_for_less();
    return std::move(result_);
  }

 private:
  [[nodiscard]] Sequence watermark() const { return result_.superblock.watermark; }

  void doubt(std::string text) {
    if (++doubts_ <= kNamed) result_.doubts.push_back(std::move(text));
  }

  Result<void> take(SlotIndex slot, const Tag& a, const Tag& b) {
    const Tag* best = nullptr;
    const Tag* cut_off = nullptr;
    for (const Tag* tag : {&a, &b}) {
      if (damaged(*tag)) continue;
      if (tag->sequence > watermark() + 1) {
        return fail(Errc::corrupt,
                    fmt::format("spare {}, slot {}: its tag is of commit {}, but the superblock ends at {}: the newer "
                                "superblock is lost, or parts of the spare are older than others; bring the map back",
                                device_.name(), slot.value(), tag->sequence.value(), watermark().value()));
      }
      if (tag->sequence > watermark()) {
        cut_off = tag;
      } else if (best == nullptr || tag->sequence > best->sequence) {
        best = tag;
      }
    }
    if (a != b || damaged(a)) copies_agree_ = false;
    if (damaged(a) || damaged(b)) {
      something_is_damaged_ = true;
      const bool unreadable = a.kind == Tag::Kind::unreadable || b.kind == Tag::Kind::unreadable;
      doubt(fmt::format("slot {}: {} {}", slot.value(), damaged_copies(a, b),
                        unreadable                 ? "cannot be read"
                        : damaged(a) && damaged(b) ? "are damaged"
                                                   : "is damaged"));
    }
    if (cut_off != nullptr) {
      newer_than_superblock_ = true;
      if (cut_off->kind == Tag::Kind::used) {
        doubt(fmt::format("slot {}: a change of block {} was cut off", slot.value(), cut_off->block.value()));
      }
    }
    if (best != nullptr && best->kind == Tag::Kind::used) {
      result_.rows.push_back(row_of(slot, *best));
    } else if (cut_off != nullptr && cut_off->kind == Tag::Kind::used) {
      cut_off_.push_back({slot, cut_off->block});
    } else if (damaged(a) && damaged(b)) {
      result_.unknown.push_back(slot);
    }
    return {};
  }

  [[nodiscard]] RemapRow row_of(SlotIndex slot, const Tag& tag) const {
    RemapRow row;
    row.block = tag.block;
    row.state = EntryState::remapped;
    row.where = {result_.superblock.id, slot};
    row.valid_mask = tag.valid_mask;
    row.written_mask = tag.written_mask;
    row.sequence = tag.sequence;
    row.cause = Cause::recovered;
    return row;
  }

  // A block that moved leaves its old tag behind until the commit that moved it is complete.
  void keep_latest_of_each_block() {
    auto& rows = result_.rows;
    std::sort(rows.begin(), rows.end(), [](const RemapRow& l, const RemapRow& r) {
      return std::pair(l.block, r.sequence) < std::pair(r.block, l.sequence);
    });
    const auto last =
        std::unique(rows.begin(), rows.end(), [](const RemapRow& l, const RemapRow& r) { return l.block == r.block; });
    rows.erase(last, rows.end());
    for (const RemapRow& row : rows) found_.enter(row_digest(row));
  }

  void prove() {
    const RowTotals& expected = result_.superblock.rows;
    if (found_ != expected) drop_one_too_many();
    const bool adds_up = found_ == expected;
    // An acknowledged commit has its watermark in a superblock; where one of the two is damaged, that may be the only
    // one. Then each trace of later commits in the tags must be missing as well, in tables that missed none.
    const bool latest = both_superblocks_ || (copies_agree_ && !newer_than_superblock_);
    result_.proven = adds_up && latest;
    std::vector<std::string> totals;
    if (!adds_up) {
      totals.push_back(fmt::format("the tags name {} blocks, the superblock vouches for {}{}", found_.count,
                                   expected.count, found_.count == expected.count ? " others" : ""));
    }
    if (!latest) totals.emplace_back("one superblock is damaged, and may have been the newer one");
    result_.doubts.insert(result_.doubts.begin(), totals.begin(), totals.end());
  }

  // The tag of a block that was removed stays until its slot is given up, after the watermark or together with it.
  void drop_one_too_many() {
    const RowTotals& expected = result_.superblock.rows;
    if (found_.count != expected.count + 1) return;
    const std::uint64_t share = found_.digest ^ expected.digest;
    const auto extra = std::find_if(result_.rows.begin(), result_.rows.end(),
                                    [share](const RemapRow& row) { return row_digest(row) == share; });
    if (extra == result_.rows.end()) return;
    found_.leave(share);
    result_.rows.erase(extra);
  }

  // Blocks of which only a tag of the commit after the watermark is there. The slot may have been the block's before,
  // with data that was acknowledged, or not yet. Neither can be served, nor what the primary has.
  void keep_cut_off_blocks() {
    const auto by_block = [](const RemapRow& l, const RemapRow& r) { return l.block < r.block; };
    auto& rows = result_.cut_off;
    for (const CutOff& lost : cut_off_) {
      rows.push_back(row_of(lost.slot, {Tag::Kind::used, lost.block, watermark(), 0, 0}));
    }
    std::stable_sort(rows.begin(), rows.end(), by_block);
    const auto last =
        std::unique(rows.begin(), rows.end(), [](const RemapRow& l, const RemapRow& r) { return l.block == r.block; });
    rows.erase(last, rows.end());
    std::erase_if(rows, [&](const RemapRow& row) {
      return std::binary_search(result_.rows.begin(), result_.rows.end(), row, by_block);
    });
  }

  // What can be said when nothing vouches for it.
  void settle_for_less() {
    for (const RemapRow& row : result_.cut_off) {
      doubt(fmt::format("block {}: answers with an error until it is rewritten", row.block.value()));
    }
    if (doubts_ > kNamed) result_.doubts.push_back(fmt::format("{} more like these", doubts_ - kNamed));
  }

  BlockDevice& device_;
  const TagTable table_;
  const bool both_superblocks_;
  bool copies_agree_ = true;
  bool newer_than_superblock_ = false;
  bool something_is_damaged_ = false;
  RowTotals found_;
  std::vector<CutOff> cut_off_;
  std::uint64_t doubts_ = 0;
  SurvivingTags result_;
};

}  // namespace

Result<SurvivingTags> read_surviving_tags(BlockDevice& device) {
  const SuperblockCopies copies = read_superblocks(device);
  auto superblock = latest(copies, device.name());
  if (!superblock) return fail(std::move(superblock.error()));
  if (device.geometry().size < superblock->layout.device_size) {
    return fail(Errc::corrupt,
                fmt::format("spare {}, the device has shrunk from {} to {} bytes, give it back its size", device.name(),
                            superblock->layout.device_size.value(), device.geometry().size.value()));
  }
  return sql_guard(device.name(), [&] { return Reading(device, copies, *superblock).run(); });
}

}  // namespace remapfs::store
