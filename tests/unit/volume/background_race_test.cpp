// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <tuple>
#include <vector>

#include "support/volume_rig.hpp"
#include "volume/scrubber.hpp"

namespace remapfs::testing {
namespace {

// Writers, readers and flushes go on while spares come and go under them.
TEST(SparesRace, ComeAndGoUnderRequests) {
  VolumeRig rig{RigOptions{}};
  ASSERT_TRUE(rig.volume->add_spare(rig.ready_spare(2)));
  for (std::uint64_t block = 0; block < 64; ++block) ASSERT_TRUE(rig.volume->add(BlockIndex(block)));
  std::atomic<bool> enough = false;
  std::vector<std::thread> users;
  for (std::uint64_t user = 0; user < 2; ++user) {
    users.emplace_back([&, user] {
      std::vector<std::vector<std::byte>> last(32);
      for (std::uint64_t round = 1; !enough; ++round) {
        for (std::uint64_t i = 0; i < 32; ++i) {
          const std::uint64_t at = (user * 32 + i) * 4096;
          last[i] = pattern(at, 4096, round);
          ASSERT_TRUE(rig.volume->write(ByteOffset(at), last[i]));
        }
        ASSERT_TRUE(rig.volume->flush());
        for (std::uint64_t i = 0; i < 32; ++i) {
          std::vector<std::byte> got(4096);
          ASSERT_TRUE(rig.volume->read(ByteOffset((user * 32 + i) * 4096), got));
          ASSERT_EQ(got, last[i]) << user << ' ' << i;
        }
        std::ignore = rig.volume->status();
      }
    });
  }
  for (SpareId id = 3; id < 23; ++id) {
    ASSERT_TRUE(rig.volume->add_spare(rig.ready_spare(id)));
    const auto retired =
        rig.volume->retire_spare(static_cast<SpareId>(id == 3 ? 1 : id - 1), [](BlockIndex) { return true; });
    ASSERT_TRUE(retired) << describe(retired.error());
  }
  enough = true;
  for (std::thread& user : users) user.join();
  EXPECT_EQ(rig.map.rows.size(), 64U);
}

// Writers, readers, flushes and blocks that move, while the primary is replaced under them.
TEST(ReplaceRace, GoesOnWithTheNewOneUnderRequests) {
  VolumeRig rig{RigOptions{.disk_bytes = 1U << 20U}};
  std::vector<std::unique_ptr<FakeDisk>> old;
  rig.primary->poke(ByteOffset(0), std::vector<std::byte>(1U << 20U));
  rig.primary->add_bad_sectors(8 * 250, 8, FaultRule::On::read);  // where nobody writes
  std::atomic<bool> enough = false;
  std::vector<std::thread> users;
  for (std::uint64_t user = 0; user < 2; ++user) {
    users.emplace_back([&, user] {
      std::vector<std::vector<std::byte>> last(100);
      for (std::uint64_t round = 1; !enough; ++round) {
        for (std::uint64_t i = 0; i < last.size(); ++i) {
          const std::uint64_t at = (user * 100 + i) * 4096;
          last[i] = pattern(at, 4096, round);
          ASSERT_TRUE(rig.volume->write(ByteOffset(at), last[i]));
          if (i % 9 == 0) std::ignore = rig.volume->add(BlockIndex(at / 4096));
          if (i % 7 == 0) std::ignore = rig.volume->remove(BlockIndex(at / 4096));
          if (i % 11 != 0) continue;
          ASSERT_TRUE(rig.volume->punch({ByteOffset(at), ByteOffset(at + 2048)}) ||
                      rig.volume->zero({ByteOffset(at), ByteOffset(at + 2048)}));
          std::fill_n(last[i].begin(), 2048, std::byte{0});
        }
        ASSERT_TRUE(rig.volume->flush());
        for (std::uint64_t i = 0; i < last.size(); ++i) {
          std::vector<std::byte> got(4096);
          ASSERT_TRUE(rig.volume->read(ByteOffset((user * 100 + i) * 4096), got));
          ASSERT_EQ(got, last[i]) << user << ' ' << i;
        }
        std::ignore = rig.volume->status();
        std::ignore = rig.volume->can_punch();
      }
    });
  }
  for (int i = 0; i < 100; ++i) {
    if (rig.next) old.push_back(std::move(rig.next));
    const auto replaced =
        rig.volume->replace_primary(rig.ready_primary(), [](const CopyProgress&) { return std::uint64_t{65536}; });
    ASSERT_TRUE(replaced) << describe(replaced.error());
  }
  enough = true;
  for (std::thread& user : users) user.join();
}

// Scrubs and their pauses, beside writers whose blocks move under them.
TEST(ScrubRace, GoesOnUnderRequests) {
  VolumeRig rig{RigOptions{}};
  rig.primary->add_bad_sectors(8, 8, FaultRule::On::write);
  Scrubber scrubber(*rig.volume, true, std::chrono::milliseconds(1));
  std::atomic<bool> enough = false;
  std::thread user([&] {
    for (std::uint64_t round = 1; !enough; ++round) {
      for (std::uint64_t block = 0; block < 16; ++block) {
        ASSERT_TRUE(rig.write(block * 4096, pattern(block * 4096, 4096, round)));
        ASSERT_EQ(*rig.read(block * 4096, 4096), pattern(block * 4096, 4096, round));
        std::ignore = rig.volume->remove(BlockIndex(block));
      }
    }
  });
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(scrubber.apply({ScrubAction::start, std::nullopt}));
    std::ignore = scrubber.wait(std::chrono::milliseconds(i * 3));
    ASSERT_TRUE(scrubber.apply({i % 2 == 0 ? ScrubAction::pause : ScrubAction::stop, std::nullopt}));
    std::ignore = scrubber.status();
  }
  enough = true;
  user.join();
}

}  // namespace
}  // namespace remapfs::testing
