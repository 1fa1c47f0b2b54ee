// SPDX-License-Identifier: Apache-2.0
#include "store/tag_audit.hpp"

#include <fmt/format.h>

#include "store/row_codec.hpp"

namespace remapfs::store {
namespace {

std::string describe_tag(const Tag& tag) {
  switch (tag.kind) {
    case Tag::Kind::never_used: return "never used";
    case Tag::Kind::cleared: return fmt::format("cleared at {}", tag.sequence.value());
    case Tag::Kind::used: return fmt::format("block {} at {}", tag.block.value(), tag.sequence.value());
    case Tag::Kind::invalid: return "damaged";
    case Tag::Kind::unreadable: return "unreadable";
  }
  return "?";
}

class Auditor {
 public:
  Auditor(const TagTable& table, const TagAudit& audit)
      : table_(table), audit_(audit), reader_a_(table, Copy::a), reader_b_(table, Copy::b) {
    // A commit writes its tags before its rows, and starts only when the one before has its watermark.
    const bool may_be_cut_off = !audit.map_clean && audit.watermark == audit.map_sequence;
    last_possible_ = may_be_cut_off ? audit.map_sequence + 1 : audit.map_sequence;
  }

  Result<TagMending> run() {
    const std::uint64_t slots = table_.layout().slots;
    for (std::uint64_t i = 0; i < slots && !stopped_; ++i) {
      const SlotIndex slot(i);
      const std::uint64_t expected = audit_.rows.at(slot);
      auto a = reader_a_.at(slot);
      if (!a) return fail(std::move(a.error()));
      const bool a_agrees = agrees(*a, expected);
      if (a_agrees && expected != 0) ++mending_.confirmed;
      if (a_agrees && !audit_.both_copies) continue;
      auto b = reader_b_.at(slot);
      if (!b) return fail(std::move(b.error()));
      if (a_agrees && agrees(*b, expected)) continue;
      auto done = expected == 0 ? judge_free(slot, *a, *b) : judge_owned(slot, *a, *b, a_agrees);
      if (!done) return fail(std::move(done.error()));
    }
    return std::move(mending_);
  }

 private:
  [[nodiscard]] bool agrees(const Tag& tag, std::uint64_t expected) const {
    if (expected == 0) {
      return tag.kind == Tag::Kind::never_used || (tag.kind == Tag::Kind::cleared && tag.sequence <= last_possible_);
    }
    return tag.kind == Tag::Kind::used &&
           tag_digest(tag.block, tag.sequence, tag.valid_mask, tag.written_mask) == expected;
  }

  void report(TagFinding::Weight weight, Errc code, SlotIndex slot, const Tag& a, const Tag& b,
              const std::string& what) {
    TagFinding finding{weight, code,
                       fmt::format("spare {}, slot {}: {} (tag A: {}; tag B: {})", table_.device().name(), slot.value(),
                                   what, describe_tag(a), describe_tag(b))};
    if (!audit_.on_finding(finding)) stopped_ = true;
  }
  void refuse(Errc code, SlotIndex slot, const Tag& a, const Tag& b, const std::string& what) {
    report(TagFinding::Weight::refuse, code, slot, a, b, what);
  }
  void mend(SlotIndex slot, const Tag& a, const Tag& b, const std::string& what) {
    report(TagFinding::Weight::mend, Errc::corrupt, slot, a, b, what);
  }

  // A commit the map has never heard of.
  bool refuse_newer(SlotIndex slot, const Tag& a, const Tag& b) {
    const auto newer = [&](const Tag& tag) {
      return (tag.kind == Tag::Kind::used || tag.kind == Tag::Kind::cleared) && tag.sequence > last_possible_;
    };
    if (!newer(a) && !newer(b)) return false;
    refuse(Errc::stale, slot, a, b,
           fmt::format("newer than the map, which ends at {}: an earlier copy of the map was put back",
                       audit_.map_sequence.value()));
    return true;
  }

  Result<void> judge_free(SlotIndex slot, const Tag& a, const Tag& b) {
    if (refuse_newer(slot, a, b)) return {};
    if (a.kind == Tag::Kind::unreadable && b.kind == Tag::Kind::unreadable) {
      mending_.unreadable.push_back(slot);
      mend(slot, a, b, "no copy of the tag can be read; the slot is not used");
    } else {
      mend(slot, a, b, "a tag without a row, to be cleared");
    }
    mending_.updates.push_back({slot, Tag::cleared_at(audit_.map_sequence + 1)});
    return {};
  }

  Result<void> judge_owned(SlotIndex slot, const Tag& a, const Tag& b, bool a_agrees) {
    if (refuse_newer(slot, a, b)) return {};
    auto row = audit_.find_row(slot);
    if (!row) return fail(std::move(row.error()));
    if (!*row) return fail(Errc::corrupt, fmt::format("slot {}: the index of the map misses a row", slot.value()));
    const RemapRow& owner = **row;
    const bool unreadable = a.kind == Tag::Kind::unreadable && b.kind == Tag::Kind::unreadable;
    if (a_agrees || agrees(b, audit_.rows.at(slot))) {
      if (!a_agrees) ++mending_.confirmed;
      mend(slot, a, b, fmt::format("one copy of the tag of block {} is not as the map says", owner.block.value()));
    } else if (unreadable) {
      mend(slot, a, b, fmt::format("no copy of the tag of block {} can be read", owner.block.value()));
    } else if ((a.kind == Tag::Kind::unreadable && older(b, owner)) ||
               (b.kind == Tag::Kind::unreadable && older(a, owner))) {
      // The copy that took the last change cannot be read, and the other one missed it.
      mend(slot, a, b, fmt::format("the latest tag of block {} cannot be read", owner.block.value()));
    } else if (cut_off(a, owner) || cut_off(b, owner)) {
      mend(slot, a, b, fmt::format("a change of block {} was cut off before it was committed", owner.block.value()));
    } else if (audit_.is_bad_tag(slot) && (same_block(a, owner) || same_block(b, owner))) {
      mend(slot, a, b, fmt::format("the tag of block {} could not be written", owner.block.value()));
    } else if (audit_.rows_vouched) {
      mend(slot, a, b, fmt::format("no copy of the tag of block {} is as the map says", owner.block.value()));
    } else {
      refuse(Errc::corrupt, slot, a, b,
             fmt::format("the map says block {} at {}", owner.block.value(), owner.sequence.value()));
      return {};
    }
    mending_.updates.push_back({slot, Tag::used_by(owner)});
    mending_.owned.push_back(slot);
    return {};
  }

  static bool same_block(const Tag& tag, const RemapRow& row) {
    return tag.kind == Tag::Kind::used && tag.block == row.block;
  }
  // What a copy says that missed the commit of the row.
  static bool older(const Tag& tag, const RemapRow& row) {
    return tag.kind == Tag::Kind::never_used ||
           ((tag.kind == Tag::Kind::used || tag.kind == Tag::Kind::cleared) && tag.sequence < row.sequence);
  }
  // The tag belongs to a commit whose rows were never committed.
  [[nodiscard]] bool cut_off(const Tag& tag, const RemapRow& row) const {
    return same_block(tag, row) && tag.sequence > audit_.map_sequence && tag.sequence <= last_possible_;
  }

  const TagTable& table_;
  const TagAudit& audit_;
  TagReader reader_a_;
  TagReader reader_b_;
  Sequence last_possible_;
  TagMending mending_;
  bool stopped_ = false;
};

}  // namespace

Result<TagMending> audit_tags(const TagTable& table, const TagAudit& audit) { return Auditor(table, audit).run(); }

}  // namespace remapfs::store
