// SPDX-License-Identifier: Apache-2.0
#include "sim/members.hpp"

#include <utility>
#include <vector>

#include "sim/scheduler.hpp"

namespace remapfs::sim {

using testing::FakeDisk;

namespace {

// A copy that does not come to an end is given up.
constexpr unsigned kMostTroubles = 3;

}  // namespace

void Members::change(Random& random) {
  if (now_.world.ended()) return;
  const std::uint64_t dice = random.below(10);
  if (dice < 3) {
    add_spare(random);
  } else if (dice < 6) {
    retire_spare(random);
  } else {
    replace_primary(random);
  }
}

// Errors that say why, where nothing else does.
bool Members::reason_for(const Error& error) {
  switch (error.code) {
    case Errc::busy:
    case Errc::interrupted:
    case Errc::no_space: return true;
    // What a device lost has to be told by a flush before.
    case Errc::failed: return now_.flush_may_fail || now_.flush_failed || now_.may_happen(error);
    default: return now_.may_happen(error) || now_.troubles.ever_on_spare();
  }
}

void Members::add_spare(Random& random) {
  FakeDisk* const disk = now_.plant.find_unused(random);
  if (disk == nullptr) return;
  now_.plant.set_aside(*disk);
  auto spare = now_.plant.ready_spare(*disk);
  if (now_.world.ended()) return;
  // Too small, perhaps.
  if (!spare) return now_.trace_request("ready spare", 0, 0, spare);
  const SpareId id = spare->info.id;
  now_.plant.copy_map();
  const auto added = now_.plant.volume->add_spare(std::move(*spare));
  now_.trace_request("add of spare", id, 0, added);
  if (now_.world.ended()) return;
  if (added) {
    ++now_.outcome.joined;
    now_.plant.joined_since_the_copy(id);
    return now_.plant.follow_volume();
  }
  if (!now_.may_happen(added.error())) now_.broken("a spare was not added: " + describe(added.error()));
}

void Members::retire_spare(Random& random) {
  const SpareId id = now_.plant.any_spare(random).first;
  const bool only = now_.plant.spares.size() == 1;
  // In the middle of what moves its blocks.
  if (!only && random.one_in(2)) now_.world.cut_after(random.between(1, 60), random.one_in(2) ? Cut::kill : Cut::power);
  const auto retired =
      now_.plant.volume->retire_spare(id, [&](BlockIndex) { return !now_.world.ended() && !random.one_in(20); });
  now_.trace_request("retirement of spare", id, 0, retired);
  if (now_.world.ended()) return;
  if (retired) {
    ++now_.outcome.retired;
    now_.plant.follow_volume();
    return now_.troubles.follow_members();
  }
  if (!only && !reason_for(retired.error())) now_.broken("a spare was not retired: " + describe(retired.error()));
}

void Members::replace_primary(Random& random) {
  FakeDisk* const disk = now_.plant.find_unused(random);
  if (disk == nullptr || disk->geometry().size < ByteCount(now_.shape.disk_bytes)) return;
  FakeDisk& old = *now_.plant.primary;
  now_.plant.set_aside(*disk);
  const bool fails = random.one_in(6);
  unsigned troubles = 0;
  const auto pace = [&](const CopyProgress& progress) -> std::uint64_t {
    pause_here();
    if (now_.world.ended() || random.one_in(60)) return 0;
    if (progress.trouble && ++troubles == kMostTroubles) return 0;
    if (fails && random.one_in(4)) disk->set_outage(testing::Outage::failing);
    return now_.shape.block_size << random.below(6);
  };
  const auto replaced = now_.plant.volume->replace_primary(now_.plant.ready_primary(*disk), pace);
  now_.trace_request("replacement of the primary", 0, 0, replaced);
  const bool failed = disk->outage() != testing::Outage::none;
  disk->set_outage(testing::Outage::none);
  if (now_.world.ended()) return;
  if (replaced) {
    if (failed) return now_.broken("a disk that failed took the primary's place");
    ++now_.outcome.replaced;
    now_.plant.follow_volume();
    now_.troubles.follow_members();
    take_old_disk_away(old, random);
    return bring_blocks_back(random);
  }
  if (!failed && !reason_for(replaced.error())) {
    now_.broken("the primary was not replaced: " + describe(replaced.error()));
  }
}

// Nothing of it is needed any more: somebody else uses it, but for a spare that it holds.
void Members::take_old_disk_away(FakeDisk& disk, Random& random) {
  std::vector<std::byte> junk(now_.shape.disk_bytes);
  random.fill(junk);
  disk.poke(ByteOffset(0), junk);
}

void Members::bring_blocks_back(Random& random) {
  BlockIndex from(0);
  while (!now_.world.ended() && !random.one_in(8)) {
    const auto returned = now_.plant.volume->return_next(from);
    if (!returned) return;
    now_.trace_request("return of block", returned->block.value(), 1, returned->result);
    if (returned->result && !now_.world.ended()) now_.troubles.returned(returned->block);
    from = returned->block + 1;
  }
}

}  // namespace remapfs::sim
