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

// Vouches for its rows, and no commit that moved blocks to it from others may have been completed there already.
bool is_certain(const SpareSurvivors& spare) { return spare.tags.proven && !superblock_of(spare).between_spares; }

// Of two rows of one block the one to go on with. A move that was cut off leaves two: either will do then, since nobody
// was told that it is done. Damage and earlier copies leave two as well: then one of them is old.
RemapRow choose(const RemapRow& l, const RemapRow& r, const std::map<SpareId, const SpareSurvivors*>& spares) {
  const auto spare_of = [&](const RemapRow& row) -> const SpareSurvivors& { return *spares.at(row.where.spare); };
  const auto prefer = [&](auto&& good) -> const RemapRow* {
    if (good(l) == good(r)) return nullptr;
    return good(l) ? &l : &r;
  };
  if (const RemapRow* one = prefer([&](const RemapRow& row) { return is_certain(spare_of(row)); })) return *one;
  if (const RemapRow* one = prefer([](const RemapRow& row) { return row.written_mask != 0; })) return *one;
  const auto is_last = [&](const RemapRow& row) { return superblock_of(spare_of(row)).watermark == row.sequence; };
  return is_last(r) && !is_last(l) ? r : l;
}

void merge(const std::vector<SpareSurvivors>& spares, JointSurvivors& joint) {
  auto& rows = joint.rows;
  std::map<SpareId, const SpareSurvivors*> by_number;
  const auto take = [&rows](const std::vector<RemapRow>& more) {
    const auto middle = static_cast<std::ptrdiff_t>(rows.size());
    rows.insert(rows.end(), more.begin(), more.end());
    std::inplace_merge(rows.begin(), rows.begin() + middle, rows.end(),
                       [](const RemapRow& l, const RemapRow& r) { return l.block < r.block; });
  };
  for (const SpareSurvivors& spare : spares) {
    by_number.emplace(superblock_of(spare).id, &spare);
    take(spare.tags.rows);
    if (!is_certain(spare)) take(spare.tags.cut_off);
  }
  std::size_t kept = 0;
  std::uint64_t twice = 0;
  for (const RemapRow& row : rows) {
    if (kept == 0 || rows[kept - 1].block != row.block) {
      rows[kept++] = row;
      continue;
    }
    if (twice++ == 0) joint.doubt(fmt::format("block {}, is on two spares", row.block.value()));
    rows[kept - 1] = choose(rows[kept - 1], row, by_number);
  }
  rows.resize(kept);
  if (twice > 1) joint.doubts.push_back(fmt::format("{} more blocks like this", twice - 1));
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
    if (superblock_of(spare).between_spares) {
      joint.doubt(
          fmt::format("spare {}, a change that moves blocks to it from others was cut off: {} blocks that may "
                      "have been on their way answer with an error, unless they are found elsewhere",
                      spare.path, spare.tags.cut_off.size()));
    }
    for (const std::string& text : spare.tags.doubts) {
      joint.doubts.push_back(fmt::format("spare {}, {}", spare.path, text));
    }
  }
  merge(spares, joint);
  return joint;
}

}  // namespace remapfs::store
