// SPDX-License-Identifier: Apache-2.0
#include "store/join_survivors.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

namespace remapfs::store {
namespace {

const Superblock& superblock_of(const SpareSurvivors& spare) { return spare.tags.superblock; }

Result<void> check_belong_together(const std::vector<SpareSurvivors>& spares) {
  const Superblock& first = superblock_of(spares.front());
  for (std::size_t i = 1; i < spares.size(); ++i) {
    const Superblock& mine = superblock_of(spares[i]);
    if (mine.volume != first.volume) {
      return fail(Errc::foreign,
                  fmt::format("spare {}, belongs to another volume ({}) than {} ({}), give spares of one",
                              spares[i].path, mine.volume.to_string(), spares.front().path, first.volume.to_string()));
    }
    if (mine.layout.block_size != first.layout.block_size || mine.volume_size != first.volume_size) {
      return fail(Errc::corrupt, fmt::format("spare {}, its block size or volume size differs from that of {}, bring "
                                             "the map back",
                                             spares[i].path, spares.front().path));
    }
    if (superblock_of(spares[i - 1]).id == mine.id) {
      return fail(Errc::exists, fmt::format("spare {}, is number {} of its volume, as {} is, give each spare once",
                                            spares[i].path, mine.id, spares[i - 1].path));
    }
  }
  return {};
}

// Without one of the spares its blocks would be read from the primary.
void look_for_others(const std::vector<SpareSurvivors>& spares, JointSurvivors& joint) {
  SpareRoll given;
  for (const SpareSurvivors& spare : spares) given.enter(superblock_of(spare).id, superblock_of(spare).spare);
  auto missing = given.numbers;
  missing.reset();
  for (const SpareSurvivors& spare : spares) {
    const SpareRoll& known = superblock_of(spare).spares;
    if (known.numbers.none()) {
      joint.doubt(fmt::format("spare {}, does not say which spares there are beside it", spare.path));
      continue;
    }
    missing |= known.numbers & ~given.numbers;
    for (const SpareSurvivors& other : spares) {
      if (known.has(superblock_of(other).id)) continue;
      joint.doubt(
          fmt::format("spare {}, is not known to {}: it left the volume, and is not to be given, or {} is an "
                      "earlier copy",
                      other.path, spare.path, spare.path));
    }
    if (known.numbers == given.numbers && known.digest != given.digest) {
      joint.doubt(fmt::format("spare {}, knows another spare by the number of one that was given, which never joined",
                              spare.path));
    }
  }
  for (std::size_t id = 1; id < missing.size(); ++id) {
    if (missing[id]) joint.doubt(fmt::format("spare {}, was not given, and nothing else has its blocks", id));
  }
}

// Of two rows of one block, which a cut-off move between spares leaves, the one that can be served. Nobody was told
// that the move is done, so either will do, as long as it is known that this is what left them. Null: it is not.
const RemapRow* choose(const RemapRow& l, const RemapRow& r, const std::map<SpareId, Sequence>& watermarks) {
  const auto says_nothing = [](const RemapRow& row) { return row.valid_mask == 0 && row.written_mask == 0; };
  if (says_nothing(l) != says_nothing(r)) return says_nothing(l) ? &r : &l;
  // The move was the last commit of the spare that the block was going to.
  const auto is_last = [&](const RemapRow& row) { return watermarks.at(row.where.spare) == row.sequence; };
  if (is_last(l)) return &l;
  return is_last(r) ? &r : nullptr;
}

Result<void> merge(const std::vector<SpareSurvivors>& spares, std::vector<RemapRow>& rows) {
  std::map<SpareId, Sequence> watermarks;
  for (const SpareSurvivors& spare : spares) {
    watermarks.emplace(superblock_of(spare).id, superblock_of(spare).watermark);
    const auto middle = static_cast<std::ptrdiff_t>(rows.size());
    rows.insert(rows.end(), spare.tags.rows.begin(), spare.tags.rows.end());
    std::inplace_merge(rows.begin(), rows.begin() + middle, rows.end(),
                       [](const RemapRow& l, const RemapRow& r) { return l.block < r.block; });
  }
  std::size_t kept = 0;
  for (const RemapRow& row : rows) {
    if (kept == 0 || rows[kept - 1].block != row.block) {
      rows[kept++] = row;
      continue;
    }
    const RemapRow* const chosen = choose(rows[kept - 1], row, watermarks);
    if (chosen == nullptr) {
      return fail(Errc::corrupt,
                  fmt::format("block {}, is on two spares, and nothing says which is the latest; bring the "
                              "map back",
                              row.block.value()));
    }
    rows[kept - 1] = *chosen;
  }
  rows.resize(kept);
  return {};
}

}  // namespace

Result<JointSurvivors> join_survivors(std::vector<SpareSurvivors>& spares) {
  std::sort(spares.begin(), spares.end(),
            [](const SpareSurvivors& l, const SpareSurvivors& r) { return superblock_of(l).id < superblock_of(r).id; });
  if (auto together = check_belong_together(spares); !together) return fail(std::move(together.error()));
  JointSurvivors joint;
  const auto hides = [](const SpareSurvivors& spare) { return superblock_of(spare).hides_losses; };
  if (std::any_of(spares.begin(), spares.end(), hides)) {
    joint.doubt(
        "primary, the map knew of lost sectors in whose place something else can be read, and only the map knew "
        "which");
  }
  look_for_others(spares, joint);
  for (const SpareSurvivors& spare : spares) {
    joint.proven = joint.proven && spare.tags.proven;
    for (const std::string& text : spare.tags.doubts) {
      joint.doubts.push_back(fmt::format("spare {}, {}", spare.path, text));
    }
  }
  if (auto merged = merge(spares, joint.rows); !merged) return fail(std::move(merged.error()));
  return joint;
}

}  // namespace remapfs::store
