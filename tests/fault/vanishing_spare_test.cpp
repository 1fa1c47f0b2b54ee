// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/sqlite_backend.hpp"
#include "support/volume_rig.hpp"

namespace remapfs::testing {
namespace {

constexpr std::uint64_t kBlock = 4096;

struct Vanishing {
  Outage outage;
  bool killed;
};

// One life: commits of all kinds, in which the spare goes away at its n-th access and forgets what it had not stored.
class VanishingLife {
 public:
  explicit VanishingLife(const Vanishing& how) : how_(how) {
    for (std::uint64_t block = 0; block < 8; ++block) {
      written_.push_back(pattern(block * kBlock, kBlock, 1));
      EXPECT_TRUE(rig_.write(block * kBlock, written_.back()));
    }
    for (const std::uint64_t block : {1U, 2U, 3U}) EXPECT_EQ(*rig_.volume->add(BlockIndex(block)), Outcome::done);
    EXPECT_TRUE(rig_.volume->flush());
  }

  // False: there were fewer accesses.
  bool live(std::uint64_t n) {
    std::uint64_t left = n;
    rig_.spare().set_before([&](const FakeOperation&) {
      if (left != 0 && --left == 0) rig_.spare().set_outage(how_.outage);
    });
    static_cast<void>(rig_.volume->remove(BlockIndex(2)));
    static_cast<void>(rig_.volume->add(BlockIndex(5)));
    marked_ = rig_.volume->mark_lost(BlockIndex(3)).has_value();
    rig_.spare().set_before({});
    if (left == 0) rig_.spare().crash_all_lost();
    rig_.spare().set_outage(Outage::none);
    for (const std::string& reason : rig_.volume->status().reasons) {
      waited = waited || reason.find("end of a commit") != std::string::npos;
    }
    // Without resume it is the next process that finishes what there is to finish.
    if (how_.killed) {
      rig_.kill();
      rig_.mount();
    } else if (left == 0) {
      EXPECT_TRUE(rig_.volume->resume());
      static_cast<void>(rig_.volume->flush());
    }
    EXPECT_GE(rig_.volume->status().state, VolumeState::degraded);
    expect_all_there();
    // The map goes on, and is in order.
    EXPECT_TRUE(rig_.volume->add(BlockIndex(7)));
    EXPECT_TRUE(rig_.volume->remove(BlockIndex(2)));
    rig_.remount();
    expect_all_there();
    return left == 0;
  }

  bool waited = false;  // a commit did, for its spare

 private:
  void expect_all_there() {
    for (std::uint64_t block = 0; block < 8; ++block) {
      const auto read = rig_.read(block * kBlock, kBlock);
      EXPECT_FALSE(block == 3 && marked_ && read);
      if (block == 3 && !read) continue;
      ASSERT_TRUE(read) << block << ": " << describe(read.error());
      EXPECT_EQ(*read, written_[block]) << block;
    }
  }

  const Vanishing how_;
  VolumeRig rig_{{}, std::make_unique<SqliteBackend>()};
  std::vector<std::vector<std::byte>> written_;
  bool marked_ = false;
};

class VanishingSpare : public ::testing::TestWithParam<Vanishing> {};

// On the real map, which is held against a mirror at each mount.
TEST_P(VanishingSpare, AtEachAccess) {
  unsigned waited = 0;
  bool happened = true;
  for (std::uint64_t n = 1; happened; ++n) {
    SCOPED_TRACE(n);
    VanishingLife life(GetParam());
    happened = life.live(n);
    if (life.waited) ++waited;
  }
  EXPECT_GE(waited, 10U) << "commits that were cut off at the spare after their rows";
}

INSTANTIATE_TEST_SUITE_P(Outages, VanishingSpare,
                         ::testing::Values(Vanishing{Outage::gone, false}, Vanishing{Outage::gone, true},
                                           Vanishing{Outage::failing, false}, Vanishing{Outage::failing, true}));

}  // namespace
}  // namespace remapfs::testing
