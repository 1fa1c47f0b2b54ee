// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "support/volume_rig.hpp"

// Another primary while the volume is in use (promises I1 to I3 and I8).

namespace remapfs::testing {
namespace {

constexpr std::uint64_t kDiskBytes = 4U << 20U;
constexpr std::uint64_t kOneBlock = 4096;
constexpr std::uint64_t kCopyStep = 64U << 10U;

class Replace : public ::testing::Test {
 protected:
  Replace() {
    model = pattern(0, kDiskBytes, 0);
    rig.primary->poke(ByteOffset(0), model);
  }

  // Steps of kCopyStep, `between` after each; gives up after very many.
  CopyPace pace(std::function<void(const CopyProgress&)> between = {}) {
    return [this, between = std::move(between)](const CopyProgress& progress) -> std::uint64_t {
      if (between) between(progress);
      return ++steps > 2000 ? 0 : kCopyStep;
    };
  }
  Result<void> replace(std::function<void(const CopyProgress&)> between = {}) {
    return rig.volume->replace_primary(rig.ready_primary(), pace(std::move(between)));
  }
  void write(std::uint64_t at, std::uint64_t length, std::uint64_t version) {
    const auto bytes = pattern(at, length, version);
    ASSERT_TRUE(rig.write(at, bytes)) << at;
    std::copy(bytes.begin(), bytes.end(), model.begin() + static_cast<std::ptrdiff_t>(at));
  }
  // As an engine does: past the member, on its descriptor.
  void write_on_descriptor(std::uint64_t at, std::uint64_t length, std::uint64_t version) {
    AlignedBuffer buffer = *AlignedBuffer::allocate(length);
    const auto bytes = pattern(at, length, version);
    std::copy(bytes.begin(), bytes.end(), buffer.data());
    DirectAccess access;
    ASSERT_TRUE(rig.volume->begin(access, {ByteOffset(at), ByteOffset(at + length)}, buffer.data(), true));
    for (DirectAccess::Part& part : access.all()) {
      ASSERT_EQ(part.member, 0U);
      const auto place =
          std::span(buffer.data(), length).subspan(part.range.begin.value() - at, part.range.size().value());
      part.done = rig.primary->write_all(part.at, place).has_value();
    }
    ASSERT_TRUE(rig.volume->end(access));
    std::copy(bytes.begin(), bytes.end(), model.begin() + static_cast<std::ptrdiff_t>(at));
  }
  // Everything but these blocks reads as the model says.
  void expect_contents(const std::set<std::uint64_t>& but = {}) {
    for (std::uint64_t block = 0; block < kDiskBytes / kOneBlock; ++block) {
      if (but.contains(block)) continue;
      const auto read = rig.read(block * kOneBlock, kOneBlock);
      ASSERT_TRUE(read) << block;
      const auto at = model.begin() + static_cast<std::ptrdiff_t>(block * kOneBlock);
      ASSERT_TRUE(std::equal(read->begin(), read->end(), at)) << "block " << block;
    }
  }
  // The device that served before is not asked for anything any more.
  void expect_old_one_idle() {
    const auto before = rig.primary->counters();
    write(0, kOneBlock, 77);
    ASSERT_TRUE(rig.read(kOneBlock, kOneBlock));
    ASSERT_TRUE(rig.volume->flush());
    const auto after = rig.primary->counters();
    EXPECT_EQ(before.reads, after.reads);
    EXPECT_EQ(before.writes, after.writes);
    EXPECT_EQ(before.syncs, after.syncs);
  }

  VolumeRig rig{RigOptions{.disk_bytes = kDiskBytes}};
  std::vector<std::byte> model;
  unsigned steps = 0;
};

TEST_F(Replace, GoesOnWithTheNewOne) {
  for (const std::uint64_t block : {3, 4, 900}) ASSERT_TRUE(rig.volume->add(BlockIndex(block)));
  ASSERT_TRUE(replace());
  EXPECT_EQ(rig.map.primary->path, "next");
  EXPECT_EQ(rig.volume->info().primary_path, "next");
  EXPECT_EQ(rig.map.events.back().kind, "primary-replaced");
  expect_contents();
  expect_old_one_idle();
  rig.remount();
  expect_contents();
  // What was in slots comes home, block by block.
  BlockIndex from(0);
  std::vector<std::uint64_t> back;
  while (const auto returned = rig.volume->return_next(from)) {
    ASSERT_TRUE(returned->result);
    back.push_back(returned->block.value());
    from = returned->block + 1;
  }
  EXPECT_EQ(back, (std::vector<std::uint64_t>{3, 4, 900}));
  EXPECT_EQ(rig.volume->status().remapped_blocks, 0U);
  expect_contents();
}

TEST_F(Replace, WhatIsWrittenMeanwhileIsThere) {
  std::mt19937_64 random(1);
  std::uint64_t version = 0;
  const auto place = [&](std::uint64_t most) {
    const std::uint64_t length = random() % most + 1;
    return std::pair(random() % (kDiskBytes - length), length);
  };
  unsigned busy_steps = 0;
  ASSERT_TRUE(replace([&](const CopyProgress&) {
    if (++busy_steps > 150) return;
    const auto [at, length] = place(20000);
    write(at, length, ++version);
    const std::uint64_t sector = random() % (kDiskBytes / 512 - 64) * 512;
    ASSERT_TRUE(rig.write_directly(sector, pattern(sector, 8192, ++version)));
    const auto direct = pattern(sector, 8192, version);
    std::copy(direct.begin(), direct.end(), model.begin() + static_cast<std::ptrdiff_t>(sector));
    const auto [zeros, count] = place(9000);
    ASSERT_TRUE(rig.volume->zero({ByteOffset(zeros), ByteOffset(zeros + count)}));
    std::fill_n(model.begin() + static_cast<std::ptrdiff_t>(zeros), count, std::byte{0});
    const BlockIndex moved(random() % (kDiskBytes / kOneBlock));
    ASSERT_TRUE(random() % 2 == 0 ? rig.volume->add(moved) : rig.volume->remove(moved));
  }));
  expect_contents();
  expect_old_one_idle();
  rig.remount();
  expect_contents();
}

TEST_F(Replace, WhatAnEngineWritesIsCopiedAgain) {
  ASSERT_TRUE(replace([&](const CopyProgress& progress) {
    if (steps < 64 && progress.left.value() > kCopyStep)
      write_on_descriptor(steps % 8 * kOneBlock, 2 * kOneBlock, steps + 1);
  }));
  expect_contents();
}

// Between the copier's read and its write somebody writes: what the copier has is old.
TEST_F(Replace, WriteThatComesBetweenReadAndCopyIsCopiedAgain) {
  NewPrimary next = rig.ready_primary();
  unsigned raced = 0;
  rig.next->set_before([&](const FakeOperation& operation) {
    if (operation.kind != FakeOperation::Kind::write || operation.range.empty() || raced >= 20) return;
    ++raced;
    write(operation.range.begin.value() + 1024, 512, 100 + raced);
  });
  ASSERT_TRUE(rig.volume->replace_primary(std::move(next), pace()));
  EXPECT_EQ(raced, 20U);
  expect_contents();
}

TEST_F(Replace, LastStepHasWhatWasWrittenBeforeIt) {
  // With little to copy everything is done in the last step.
  unsigned calls = 0;
  ASSERT_TRUE(replace([&](const CopyProgress& progress) {
    if (progress.left.value() <= kCopyStep && calls++ < 5) write(kOneBlock * (100 + calls), kOneBlock, calls);
  }));
  EXPECT_GT(calls, 0U);
  expect_contents();
}

TEST_F(Replace, LostSectorsStayLostWhateverTheNewOneHasThere) {
  rig.primary->add_bad_sectors(8 * 10 + 2, 1, FaultRule::On::read);
  rig.primary->add_bad_sectors(8 * 500, 8, FaultRule::On::read);
  EXPECT_FALSE(rig.read(10 * kOneBlock, kOneBlock));  // known before
  ASSERT_TRUE(replace());                             // the other one is found by copying
  ASSERT_TRUE(rig.row(10) && rig.row(500));
  EXPECT_EQ(rig.row(10)->cause, Cause::replaced);
  EXPECT_EQ(rig.row(10)->valid_mask, 0xFBU);
  EXPECT_EQ(rig.row(500)->valid_mask, 0U);
  expect_contents({10, 500});
  // Its neighbours in the block were copied.
  EXPECT_EQ(*rig.read(10 * kOneBlock + 3 * 512, 5 * 512), pattern(10 * kOneBlock + 3 * 512, 5 * 512, 0));
  for (const std::uint64_t block : {10, 500}) {
    EXPECT_EQ(*rig.volume->retest(BlockIndex(block)), Outcome::still_bad);
    EXPECT_EQ(*rig.volume->clear_lost(BlockIndex(block)), Outcome::still_bad);
    EXPECT_EQ(rig.read(block * kOneBlock + 1024 * (block == 10), 512).error().code, Errc::lost);
  }
  // One more that fails on the new one changes nothing about that.
  rig.next->add_bad_sectors(8 * 10 + 5, 1, FaultRule::On::read);
  EXPECT_FALSE(rig.read(10 * kOneBlock + 5 * 512, 512));
  rig.next->clear_faults();
  EXPECT_EQ(*rig.volume->retest(BlockIndex(10)), Outcome::still_bad);
  EXPECT_EQ(rig.read(10 * kOneBlock + 1024, 512).error().code, Errc::lost);
  // Written, they are sound.
  write(10 * kOneBlock, kOneBlock, 3);
  write(500 * kOneBlock, kOneBlock, 3);
  expect_contents();
}

TEST_F(Replace, WhatCountsAgainIsCopied) {
  const auto bad = rig.primary->add_bad_sectors(8 * 10, 8, FaultRule::On::read);
  EXPECT_FALSE(rig.read(10 * kOneBlock, kOneBlock));
  bool revived = false;
  ASSERT_TRUE(replace([&](const CopyProgress& progress) {
    // It was passed over by then.
    if (revived || progress.left.value() > kDiskBytes / 2) return;
    revived = true;
    rig.primary->remove_fault(bad);
    EXPECT_EQ(*rig.volume->clear_lost(BlockIndex(10)), Outcome::done);
  }));
  EXPECT_TRUE(revived);
  EXPECT_FALSE(rig.row(10));
  expect_contents();
}

TEST_F(Replace, WeakBlocksAreWhole) {
  VolumeRig full{RigOptions{.disk_bytes = kDiskBytes, .slots = 1}};
  full.primary->poke(ByteOffset(0), model);
  ASSERT_TRUE(full.volume->add(BlockIndex(0)));
  full.primary->add_fault({{ByteOffset(10 * kOneBlock), ByteOffset(10 * kOneBlock + 512)},
                           FaultRule::On::read,
                           FaultRule::Lasts::times,
                           2});
  ASSERT_TRUE(full.read(10 * kOneBlock, kOneBlock));
  ASSERT_EQ(full.row(10)->state, EntryState::weak);
  ASSERT_TRUE(full.volume->replace_primary(full.ready_primary(), pace()));
  EXPECT_FALSE(full.row(10));
  EXPECT_EQ(*full.read(10 * kOneBlock, kOneBlock), pattern(10 * kOneBlock, kOneBlock, 0));
  EXPECT_EQ(full.volume->status().weak_blocks, 0U);
}

TEST_F(Replace, NewOneThatFailsIsNotTaken) {
  NewPrimary next = rig.ready_primary();
  rig.next->add_bad_sectors(3000, 8, FaultRule::On::write);
  const auto replaced = rig.volume->replace_primary(std::move(next), pace());
  ASSERT_FALSE(replaced);
  EXPECT_NE(describe(replaced.error()).find("new device cannot be written, next"), std::string::npos);
  EXPECT_FALSE(rig.map.primary);
  EXPECT_EQ(rig.map.events.back().kind, "replace-ended");
  write(5 * kOneBlock, kOneBlock, 9);
  expect_contents();
  // And another one is.
  ASSERT_TRUE(replace());
  expect_contents();
}

TEST_F(Replace, NewOneThatCannotBeSyncedIsNotTaken) {
  NewPrimary next = rig.ready_primary();
  rig.next->fail_syncs(1);
  EXPECT_FALSE(rig.volume->replace_primary(std::move(next), pace()));
  EXPECT_FALSE(rig.map.primary);
  expect_contents();
}

TEST_F(Replace, MapHasTheNewOneOnlyWhenItHasEverything) {
  bool looked = false;
  rig.store->before_commit = [&](const MapTransaction& transaction) {
    if (!transaction.primary) return;
    looked = true;
    EXPECT_EQ(rig.next->unsynced_sectors(), 0U);
    rig.next->crash_all_lost();
    EXPECT_TRUE(rig.next->peek({ByteOffset(0), ByteOffset(kDiskBytes)}) == model);
  };
  ASSERT_TRUE(replace([&](const CopyProgress& progress) {
    if (progress.left.value() > kDiskBytes / 2) write(7 * kOneBlock, kOneBlock, steps + 1);
  }));
  EXPECT_TRUE(looked);
}

TEST_F(Replace, MapThatCannotBeWrittenLeavesTheOldOne) {
  rig.store->before_commit = [&](const MapTransaction& transaction) {
    if (transaction.primary) rig.store->failures.push_back({Error{Errc::store, ENOSPC, {}}, {}, {}});
  };
  EXPECT_EQ(replace().error().code, Errc::store);
  rig.store->before_commit = {};
  EXPECT_FALSE(rig.map.primary);
  write(5 * kOneBlock, kOneBlock, 9);
  expect_contents();
  rig.remount();
  expect_contents();
}

// Whichever of the two the map has: nothing is acknowledged that the next mount does not have.
TEST_F(Replace, UnknownCommitTakesNoMoreWrites) {
  for (const bool applied : {false, true}) {
    VolumeRig one{RigOptions{.disk_bytes = kDiskBytes}};
    one.primary->poke(ByteOffset(0), model);
    one.store->apply_unknown = applied;
    one.store->before_commit = [&](const MapTransaction& transaction) {
      if (transaction.primary) one.store->failures.push_back({Error{Errc::commit_unknown, EIO, {}}, {}, {}});
    };
    EXPECT_EQ(one.volume->replace_primary(one.ready_primary(), pace()).error().code, Errc::failed);
    EXPECT_EQ(one.map.primary.has_value(), applied);
    EXPECT_EQ(*one.read(kOneBlock, kOneBlock), pattern(kOneBlock, kOneBlock, 0));
    EXPECT_EQ(one.write(kOneBlock, pattern(kOneBlock, kOneBlock, 1)).error().code, Errc::failed);
    EXPECT_EQ(one.write(kOneBlock + 100, pattern(kOneBlock, 100, 1)).error().code, Errc::failed);
    EXPECT_EQ(one.write_directly(kOneBlock, pattern(kOneBlock, kOneBlock, 1)).error().code, Errc::failed);
    EXPECT_FALSE(one.volume->zero({ByteOffset(0), ByteOffset(65536)}));
    EXPECT_EQ(one.volume->status().state, VolumeState::failed);
    std::ignore = one.volume->close();
    one.mount();
    for (std::uint64_t at = 0; at < kDiskBytes; at += kCopyStep)
      EXPECT_EQ(*one.read(at, kCopyStep), pattern(at, kCopyStep, 0)) << at;
    EXPECT_TRUE(one.write(kOneBlock, pattern(kOneBlock, kOneBlock, 1)));
  }
}

TEST_F(Replace, OldOneThatIsAwayIsWaitedFor) {
  bool away = false;
  unsigned troubles = 0;
  const auto replaced = replace([&](const CopyProgress& progress) {
    if (!away && progress.left.value() < kDiskBytes / 2) {
      away = true;
      rig.primary->set_outage(Outage::gone);
    }
    if (progress.trouble) {
      EXPECT_NE(describe(*progress.trouble).find(troubles < 4 ? "see remapfs" : ""), std::string::npos);
    }
    if (!progress.trouble || ++troubles < 5) return;
    rig.primary->set_outage(Outage::none);
    ASSERT_TRUE(rig.volume->resume());
    // Somebody is told of what it may have lost.
    std::ignore = rig.volume->flush();
  });
  ASSERT_TRUE(replaced) << describe(replaced.error());
  EXPECT_GE(troubles, 5U);
  expect_contents();
}

TEST_F(Replace, OldOneThatLostWritesStaysUntilSomebodyWasTold) {
  bool lost = false;
  bool told = false;
  ASSERT_TRUE(replace([&](const CopyProgress& progress) {
    if (!lost && progress.left.value() <= kCopyStep) {
      lost = true;
      ASSERT_TRUE(rig.write(0, pattern(0, kOneBlock, 1)));
      rig.primary->fail_syncs(1);
    }
    if (!progress.trouble || std::exchange(told, true)) return;
    EXPECT_FALSE(rig.map.primary);
    EXPECT_FALSE(rig.volume->flush());
    ASSERT_TRUE(rig.volume->resume());
    EXPECT_TRUE(rig.volume->flush());
  }));
  EXPECT_TRUE(lost);
  EXPECT_TRUE(told);
  write(0, kOneBlock, 1);
  expect_contents();
}

// On a disk so large that several blocks have one mark.
TEST_F(Replace, ComesPastAReadThatTakesLongToFailWithinWhatOneMarkStandsFor) {
  rig.unmount();
  VolumeOptions options;
  options.most_dirty_granules = 8;
  rig.mount(options);
  rig.primary->add_bad_sectors(20 * 8, 8, FaultRule::On::read);
  rig.primary->set_before([](const FakeOperation& operation) {
    const bool is_long = operation.kind == FakeOperation::Kind::read && operation.range.size().value() > kOneBlock &&
                         operation.range.begin.value() <= 20 * kOneBlock;
    if (is_long) std::this_thread::sleep_for(std::chrono::milliseconds(1100));
  });
  steps = 1980;
  const auto replaced = replace();
  ASSERT_TRUE(replaced) << describe(replaced.error());
  expect_contents({20});
  EXPECT_EQ(rig.read(20 * kOneBlock, kOneBlock).error().code, Errc::lost);
}

// On a dying disk a flush may take longer than all the rest.
TEST_F(Replace, FlushOfTheOldOneThatComesLateSaysNothingOfTheNewOne) {
  std::thread late;
  rig.store->before_commit = [&](const MapTransaction& transaction) {
    if (!transaction.primary) return;
    rig.primary->set_outage(Outage::gone);
    // It has the old one in hand, and waits for its turn to sync it.
    late = std::thread([&] { EXPECT_FALSE(rig.volume->flush()); });
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  };
  ASSERT_TRUE(replace());
  late.join();
  rig.store->before_commit = {};
  EXPECT_TRUE(rig.volume->flush());
  EXPECT_EQ(rig.volume->status().state, VolumeState::healthy);
  write(0, kOneBlock, 1);
  expect_contents();
}

// What was copied may be newer than what the old one has then; but that is what everybody saw since.
TEST_F(Replace, OldOneThatLostItsCacheIsCopiedAnew) {
  VolumeRig one{RigOptions{.disk_bytes = kDiskBytes}};
  one.primary->poke(ByteOffset(0), model);
  bool gone = false;
  steps = 0;
  const auto replaced =
      one.volume->replace_primary(one.ready_primary(), pace([&](const CopyProgress& progress) {
                                    // Copied soon, and never flushed.
                                    if (!gone && steps == 2) {
                                      ASSERT_TRUE(one.write(300 * kOneBlock, pattern(0, kOneBlock, 99)));
                                    }
                                    if (gone || progress.left.value() > kCopyStep) return;
                                    gone = true;
                                    one.primary->set_outage(Outage::gone);
                                    EXPECT_FALSE(one.read(0, kOneBlock));
                                    one.primary->crash_all_lost();
                                    one.primary->set_outage(Outage::none);
                                    ASSERT_TRUE(one.volume->resume());
                                    while (!one.volume->flush()) {
                                    }
                                  }));
  ASSERT_TRUE(replaced) << describe(replaced.error());
  for (std::uint64_t at = 0; at < kDiskBytes; at += kCopyStep)
    EXPECT_EQ(*one.read(at, kCopyStep), pattern(at, kCopyStep, 0)) << at;
}

// A flush that hangs keeps the last step from being done.
class ReplaceAboutToEnd : public Replace {
 protected:
  ~ReplaceAboutToEnd() override {
    let_go();
    rig.primary->set_before(nullptr);
  }

  void let_go() {
    leave = true;
    if (hanging.joinable()) hanging.join();
  }
  void lose_blocks_7_and_9() {
    ASSERT_TRUE(rig.volume->mark_lost(BlockIndex(7)));
    const std::vector<ImportRun> runs{{{BlockIndex(9), BlockIndex(10)}, 1}};
    ImportCounts counts;
    ASSERT_TRUE(rig.volume->import_entries(runs, counts));
  }
  // then(): once, after the last step could not be done.
  std::function<void(const CopyProgress&)> when_it_waits(std::function<void()> then) {
    EXPECT_TRUE(rig.volume->flush());
    rig.primary->set_before([this](const FakeOperation& operation) {
      if (operation.kind != FakeOperation::Kind::sync) return;
      inside = true;
      while (!leave) std::this_thread::yield();
    });
    return [this, then = std::move(then)](const CopyProgress& progress) {
      if (!inside && progress.again) {
        hanging = std::thread([this] { EXPECT_TRUE(rig.volume->flush()); });
        while (!inside) std::this_thread::yield();
      }
      if (!progress.trouble || waited) return;
      waited = true;
      then();
    };
  }

  std::atomic<bool> inside = false;
  std::atomic<bool> leave = false;
  bool waited = false;
  std::thread hanging;
};

TEST_F(ReplaceAboutToEnd, WhatIsLostAtTheLastMomentIsMarkedToo) {
  rig.primary->add_bad_sectors(8 * 500, 8, FaultRule::On::read);
  ASSERT_TRUE(replace(when_it_waits([&] {
    lose_blocks_7_and_9();
    let_go();
  })));
  ASSERT_TRUE(waited);
  for (const std::uint64_t block : {7, 9, 500}) EXPECT_EQ(rig.row(block)->cause, Cause::replaced) << block;
  EXPECT_EQ(*rig.volume->retest(BlockIndex(7)), Outcome::still_bad);
  // Afterwards the new one is what is lost or not.
  ASSERT_TRUE(rig.volume->mark_lost(BlockIndex(11)));
  EXPECT_EQ(rig.row(11)->cause, Cause::operator_mark);
  EXPECT_EQ(*rig.volume->retest(BlockIndex(11)), Outcome::done);
}

// Where there are so many of them that requests would have to wait for it.
TEST_F(ReplaceAboutToEnd, VeryManyLostBlocksAreMarkedBefore) {
  rig.unmount();
  VolumeOptions options;
  options.most_rows_at_once = 7;
  rig.mount(options);
  rig.primary->add_bad_sectors(8 * 500, 8, FaultRule::On::read);
  ASSERT_TRUE(replace(when_it_waits([&] {
    EXPECT_EQ(rig.row(500)->cause, Cause::replaced);
    lose_blocks_7_and_9();
    for (const std::uint64_t block : {7, 9}) EXPECT_EQ(rig.row(block)->cause, Cause::replaced) << block;
    let_go();
  })));
  ASSERT_TRUE(waited);
  ASSERT_TRUE(rig.volume->mark_lost(BlockIndex(11)));
  EXPECT_EQ(rig.row(11)->cause, Cause::operator_mark);
}

// The old one has the data still, where it can be read again.
TEST_F(ReplaceAboutToEnd, GivenUpItHasMarkedNothing) {
  const auto bad = rig.primary->add_bad_sectors(8 * 500, 8, FaultRule::On::read);
  bool gives_up = false;
  const auto step = pace(when_it_waits([&] {
    EXPECT_EQ(rig.row(500)->cause, Cause::read_error);
    gives_up = true;
  }));
  const auto given_up = rig.volume->replace_primary(
      rig.ready_primary(), [&](const CopyProgress& progress) { return gives_up ? 0 : step(progress); });
  EXPECT_EQ(given_up.error().code, Errc::interrupted);
  ASSERT_TRUE(waited);
  let_go();
  EXPECT_EQ(rig.row(500)->cause, Cause::read_error);
  rig.primary->remove_fault(bad);
  EXPECT_EQ(*rig.volume->clear_lost(BlockIndex(500)), Outcome::done);
  EXPECT_FALSE(rig.row(500));
  expect_contents();
}

// A spare that cannot name the new primary would leave the map in doubt.
TEST_F(Replace, SpareThatDoesNotWorkIsWaitedFor) {
  ASSERT_TRUE(rig.volume->add(BlockIndex(1)));
  bool failed = false;
  ASSERT_TRUE(replace([&](const CopyProgress& progress) {
    if (!failed && progress.left.value() <= kCopyStep) {
      failed = true;
      rig.spare().fail_syncs(1);
      EXPECT_FALSE(rig.volume->flush());
    }
    if (!progress.trouble) return;
    EXPECT_FALSE(rig.map.primary);
    ASSERT_TRUE(rig.volume->resume());
    std::ignore = rig.volume->flush();
    std::ignore = rig.volume->flush();
  }));
  EXPECT_TRUE(failed);
  expect_contents();
}

TEST_F(Replace, CanBeGivenUp) {
  const auto given_up = rig.volume->replace_primary(rig.ready_primary(), [&](const CopyProgress& progress) {
    return progress.left.value() < kDiskBytes / 2 ? 0 : kCopyStep;
  });
  EXPECT_EQ(given_up.error().code, Errc::interrupted);
  write(0, kOneBlock, 5);
  expect_contents();
  EXPECT_FALSE(rig.map.primary);
}

TEST_F(Replace, OneAtATime) {
  ASSERT_TRUE(replace([&](const CopyProgress&) {
    NewPrimary other{
        {"other", ""}, std::make_unique<MemberDevice>(std::make_unique<FakeDisk>(ByteCount(kDiskBytes))), false};
    EXPECT_EQ(rig.volume->replace_primary(std::move(other), pace()).error().code, Errc::busy);
  }));
}

TEST_F(Replace, DeviceThatDoesNotFitIsRefused) {
  NewPrimary small{
      {"small", ""}, std::make_unique<MemberDevice>(std::make_unique<FakeDisk>(ByteCount(kDiskBytes / 2))), false};
  EXPECT_EQ(rig.volume->replace_primary(std::move(small), pace()).error().code, Errc::invalid);
  DeviceGeometry coarse;
  coarse.logical_block = 4096;
  EXPECT_EQ(rig.volume->replace_primary(rig.ready_primary(coarse), pace()).error().code, Errc::unsupported);
  // Half a block is lost: what is written to the new one are whole blocks.
  rig.primary->add_bad_sectors(8 * 10 + 2, 1, FaultRule::On::read);
  NewPrimary alone = rig.ready_primary(coarse);
  alone.alone = true;
  ASSERT_TRUE(rig.volume->replace_primary(std::move(alone), pace()));
  rig.remount();
  expect_contents({10});
}

TEST_F(Replace, DiskOfAnOddSize) {
  const std::uint64_t odd = kDiskBytes + 3 * 512;
  VolumeRig one{RigOptions{.disk_bytes = odd}};
  one.primary->poke(ByteOffset(0), pattern(0, odd, 0));
  one.primary->add_bad_sectors(odd / 512 - 1, 1, FaultRule::On::read);
  ASSERT_TRUE(one.volume->replace_primary(one.ready_primary(), pace()));
  EXPECT_EQ(*one.read(kDiskBytes, 1024), pattern(kDiskBytes, 1024, 0));
  EXPECT_EQ(one.read(kDiskBytes + 1024, 512).error().code, Errc::lost);
}

}  // namespace
}  // namespace remapfs::testing
