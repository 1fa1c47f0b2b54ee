// SPDX-License-Identifier: Apache-2.0
#include "volume/replacer.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "support/volume_rig.hpp"

namespace remapfs::testing {
namespace {

using namespace std::chrono_literals;

constexpr auto kReplaceWait = 30s;
constexpr std::uint64_t kSlowRate = 256U << 10U;  // a second: never done by itself

class Replacing : public ::testing::Test {
 protected:
  Replacing() { rig.primary->poke(ByteOffset(0), pattern(0, 4U << 20U, 0)); }
  void expect_contents() {
    for (std::uint64_t at = 0; at < 4U << 20U; at += 65536)
      EXPECT_EQ(*rig.read(at, 65536), pattern(at, 65536, 0)) << at;
  }
  static void wait_for_a_step(const Replacer& replacer) {
    const auto copied = [&] {
      const ReplaceStatus now = replacer.status();
      return now.total_bytes - now.left_bytes;
    };
    for (int i = 0; i < 1000 && copied() == 0; ++i) std::this_thread::sleep_for(10ms);
    ASSERT_NE(copied(), 0U);
  }

  VolumeRig rig{RigOptions{}};
};

TEST_F(Replacing, CopiesGoesOnWithTheNewOneAndBringsBlocksBack) {
  for (std::uint64_t block = 0; block < 20; ++block) ASSERT_TRUE(rig.volume->add(BlockIndex(block * 10)));
  rig.primary->add_bad_sectors(8 * 50, 1, FaultRule::On::read);
  unsigned told = 0;
  Replacer replacer(*rig.volume, [&] { ++told; });
  EXPECT_EQ(replacer.status().state, ReplaceState::never);
  EXPECT_EQ(replacer.stop(), Outcome::already);
  ASSERT_TRUE(replacer.start(rig.ready_primary(), 0));
  ASSERT_TRUE(replacer.wait(kReplaceWait));
  const ReplaceStatus now = replacer.status();
  EXPECT_EQ(now.state, ReplaceState::finished);
  EXPECT_TRUE(now.switched);
  EXPECT_EQ(now.left_bytes, 0U);
  EXPECT_EQ(now.returned_blocks, 20U);
  EXPECT_EQ(now.kept_blocks, 0U);
  EXPECT_EQ(now.path, "next");
  EXPECT_EQ(now.trouble, "");
  EXPECT_EQ(told, 1U);
  EXPECT_EQ(rig.map.events.back().kind, "returned");
  rig.remount();
  expect_contents();
}

TEST_F(Replacing, IsStoppedAndBegunAgain) {
  Replacer replacer(*rig.volume);
  ASSERT_TRUE(replacer.start(rig.ready_primary(), kSlowRate));
  EXPECT_EQ(replacer.start(NewPrimary{{"other", ""}, nullptr, false}, 0).error().code, Errc::busy);
  wait_for_a_step(replacer);
  EXPECT_TRUE(replacer.copies());
  EXPECT_EQ(replacer.stop(), Outcome::done);
  EXPECT_EQ(replacer.status().state, ReplaceState::stopped);
  EXPECT_FALSE(replacer.copies());
  EXPECT_FALSE(rig.map.primary);
  ASSERT_TRUE(replacer.start(rig.ready_primary(), 0));
  ASSERT_TRUE(replacer.wait(kReplaceWait));
  EXPECT_EQ(replacer.status().state, ReplaceState::finished);
  expect_contents();
}

TEST_F(Replacing, EndsWithItsObject) {
  {
    Replacer replacer(*rig.volume);
    ASSERT_TRUE(replacer.start(rig.ready_primary(), kSlowRate));
    wait_for_a_step(replacer);
  }
  EXPECT_FALSE(rig.map.primary);
  EXPECT_EQ(rig.map.events.back().kind, "replace-ended");
  expect_contents();
}

TEST_F(Replacing, SaysWhyItFailedAndWhatIsKept) {
  Replacer replacer(*rig.volume);
  NewPrimary bad = rig.ready_primary();
  rig.next->add_bad_sectors(100, 8, FaultRule::On::write);
  ASSERT_TRUE(replacer.start(std::move(bad), 0));
  ASSERT_TRUE(replacer.wait(kReplaceWait));
  EXPECT_EQ(replacer.status().state, ReplaceState::failed);
  EXPECT_NE(replacer.status().trouble.find("new device cannot be written"), std::string::npos);
  // A block of which some sectors are lost stays in its slot.
  ASSERT_TRUE(rig.volume->add(BlockIndex(1)));
  ASSERT_TRUE(rig.volume->add(BlockIndex(2)));
  ASSERT_TRUE(rig.volume->mark_lost(BlockIndex(2)));
  ASSERT_TRUE(replacer.start(rig.ready_primary(), 0));
  ASSERT_TRUE(replacer.wait(kReplaceWait));
  EXPECT_EQ(replacer.status().returned_blocks, 1U);
  EXPECT_EQ(replacer.status().kept_blocks, 1U);
}

}  // namespace
}  // namespace remapfs::testing
