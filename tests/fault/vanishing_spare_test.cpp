// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/sqlite_backend.hpp"
#include "support/volume_rig.hpp"

namespace remapfs::testing {
namespace {

constexpr std::uint64_t kBlock = 4096;

// On the real map: the spare goes away at each access in turn, forgets what it had not stored, and comes back. Without
// resume it is the next process that finishes what there is to finish.
TEST(VanishingSpare, AtEachAccess) {
  for (const bool killed : {false, true}) {
    unsigned waited = 0;
    for (std::uint64_t n = 1;; ++n) {
      SCOPED_TRACE(n);
      VolumeRig rig({}, std::make_unique<SqliteBackend>());
      std::vector<std::vector<std::byte>> written;
      for (std::uint64_t block = 0; block < 8; ++block) {
        written.push_back(pattern(block * kBlock, kBlock, n));
        ASSERT_TRUE(rig.write(block * kBlock, written.back()));
      }
      for (const std::uint64_t block : {1U, 2U, 3U}) ASSERT_EQ(*rig.volume->add(BlockIndex(block)), Outcome::done);
      ASSERT_TRUE(rig.volume->flush());
      std::uint64_t left = n;
      rig.spare().set_before([&](const FakeOperation&) {
        if (left != 0 && --left == 0) rig.spare().set_outage(Outage::gone);
      });
      const bool removed = rig.volume->remove(BlockIndex(2)).has_value();
      const bool added = rig.volume->add(BlockIndex(5)).has_value();
      const auto marked = rig.volume->mark_lost(BlockIndex(3));
      const bool happened = left == 0;
      rig.spare().set_before({});
      if (happened) rig.spare().crash_all_lost();
      rig.spare().set_outage(Outage::none);
      const VolumeStatus status = rig.volume->status();
      for (const std::string& reason : status.reasons) {
        if (reason.find("end of a commit") != std::string::npos) ++waited;
      }
      if (killed) {
        rig.kill();
        rig.mount();
      } else if (happened) {
        ASSERT_TRUE(rig.volume->resume());
        static_cast<void>(rig.volume->flush());
      }
      EXPECT_GE(rig.volume->status().state, VolumeState::degraded);
      for (std::uint64_t block = 0; block < 8; ++block) {
        const auto read = rig.read(block * kBlock, kBlock);
        if (block == 3 && marked) {
          EXPECT_FALSE(read);
        } else if (read || block != 3) {
          ASSERT_TRUE(read) << block;
          EXPECT_EQ(*read, written[block]) << block;
        }
      }
      EXPECT_FALSE(removed && rig.row(2));
      EXPECT_TRUE(!added || rig.row(5));
      // The map goes on, and is in order.
      ASSERT_EQ(*rig.volume->add(BlockIndex(7)), Outcome::done);
      static_cast<void>(rig.volume->remove(BlockIndex(2)));
      rig.remount();
      EXPECT_EQ(*rig.read(7 * kBlock, kBlock), written[7]);
      EXPECT_EQ(*rig.read(2 * kBlock, kBlock), written[2]);
      if (!happened) break;
    }
    EXPECT_GE(waited, 10U) << "commits that were cut off at the spare after their rows";
  }
}

}  // namespace
}  // namespace remapfs::testing
