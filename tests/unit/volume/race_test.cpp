// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstring>
#include <thread>

#include "support/random.hpp"
#include "support/volume_rig.hpp"

// Relocation, removal, retest and read-modify-write of a block race its writers (promise I8).

namespace remapfs::testing {
namespace {

constexpr unsigned kWriters = 8;
constexpr std::uint64_t kBlock = 33;

// Each writer owns one sector of the block and writes ever higher numbers into it; after each acknowledged write it
// reads its sector back. Meanwhile the block moves to a slot and back, the primary's sectors fail and recover. A lost
// update, a stale copy or a torn mixture shows as an older number.
void race(bool unaligned, bool one_disk = false) {
  const std::uint64_t seed = test_seed();
  SCOPED_TRACE(seed_message(seed));
  VolumeRig rig({.slots = 64, .one_disk = one_disk});
  std::atomic<unsigned> running{kWriters};
  std::array<std::uint64_t, kWriters> last{};

  std::vector<std::thread> threads;
  for (unsigned w = 0; w < kWriters; ++w) {
    threads.emplace_back([&, w] {
      const std::uint64_t at = kBlock * 4096 + w * 512 + (unaligned ? 13 : 0);
      const std::size_t length = unaligned ? 400 : 512;
      for (std::uint64_t n = 1; n <= 1500; ++n) {
        std::vector<std::byte> data(length, static_cast<std::byte>(n));
        std::memcpy(data.data(), &n, sizeof n);
        const auto written = rig.write(at, data);
        ASSERT_TRUE(written) << describe(written.error());
        last[w] = n;
        const auto back = rig.read(at, length);
        ASSERT_TRUE(back) << describe(back.error());
        ASSERT_EQ(*back, data) << "writer " << w << ", write " << n;
      }
      --running;
    });
  }
  threads.emplace_back([&] {
    Random random(seed);
    FaultId fault = 0;
    while (running != 0) {
      switch (random.below(4)) {
        case 0: static_cast<void>(rig.volume->add(BlockIndex(kBlock))); break;
        case 1: static_cast<void>(rig.volume->remove(BlockIndex(kBlock))); break;
        case 2: static_cast<void>(rig.volume->retest(BlockIndex(kBlock))); break;
        default:
          if (fault == 0) {
            fault = rig.primary->add_bad_sectors(kBlock * 8 + random.below(8), 1, FaultRule::On::write);
          } else {
            rig.primary->remove_fault(fault);
            fault = 0;
          }
      }
    }
  });
  threads.emplace_back([&] {
    while (running != 0) {
      ASSERT_TRUE(rig.volume->flush());
      if (one_disk) {
        ASSERT_TRUE(rig.volume->resume());
      }
    }
  });
  for (std::thread& thread : threads) thread.join();

  rig.remount();
  for (unsigned w = 0; w < kWriters; ++w) {
    std::uint64_t n = 0;
    const auto back = rig.read(kBlock * 4096 + w * 512 + (unaligned ? 13 : 0), sizeof n);
    ASSERT_TRUE(back);
    std::memcpy(&n, back->data(), sizeof n);
    EXPECT_EQ(n, last[w]) << "writer " << w << " after remount";
  }
}

TEST(Race, WritersOfWholeSectorsLoseNothing) { race(false); }
TEST(Race, ReadModifyWritersLoseNothing) { race(true); }
TEST(Race, WritersToOneDiskWithItsSpareLoseNothing) { race(false, true); }

// Blocks move out of their slots while others move in: a reader that still believes in the old meaning of a slot would
// see another block's bytes.
TEST(Race, ASlotIsNotReusedUnderItsReaders) {
  constexpr std::uint64_t kBlocks = 6;
  VolumeRig rig({.slots = 3});
  for (std::uint64_t b = 0; b < kBlocks; ++b) {
    rig.primary->poke(ByteOffset(b * 4096), std::vector<std::byte>(4096, static_cast<std::byte>(b + 1)));
  }
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      Random random(t);
      AlignedBuffer buffer = std::move(*AlignedBuffer::allocate(4096));
      while (!stop) {
        const std::uint64_t b = random.below(kBlocks);
        ASSERT_EQ(*rig.volume->read(ByteOffset(b * 4096), buffer.span()), 4096U);
        for (const std::byte byte : buffer.span()) ASSERT_EQ(byte, static_cast<std::byte>(b + 1));
      }
    });
  }
  Random random(99);
  for (int i = 0; i < 1500; ++i) {
    const BlockIndex block(random.below(kBlocks));
    static_cast<void>(random.one_in(2) ? rig.volume->add(block) : rig.volume->remove(block));
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace remapfs::testing
