// SPDX-License-Identifier: Apache-2.0
#include "e2e/kill/region_history.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

// The oracle itself: it must accept what a crash allows and nothing else.

namespace remapfs::testing {
namespace {

using ::testing::HasSubstr;
using Bytes = std::array<std::byte, kSectorSize>;

class RegionHistoryTest : public ::testing::Test {
 protected:
  [[nodiscard]] Bytes bytes(std::uint64_t sector, std::uint64_t generation) const {
    Bytes out;
    write_contents(history_.name(sector, generation), out);
    return out;
  }
  [[nodiscard]] bool accepts(std::uint64_t sector, std::uint64_t generation) {
    return !history_.judge(sector, bytes(sector, generation));
  }
  std::uint64_t written(SectorRange range) {
    const std::uint64_t generation = history_.begin_write(range);
    history_.acknowledge(range);
    return generation;
  }

  RegionHistory history_{7, 2, {100, 110}};
};

TEST_F(RegionHistoryTest, AcknowledgedGenerationReplacesTheOneBefore) {
  EXPECT_TRUE(accepts(103, 1));
  const std::uint64_t generation = written({103, 105});
  EXPECT_FALSE(accepts(103, 1));
  EXPECT_TRUE(accepts(103, generation));
  EXPECT_TRUE(accepts(105, 1));
}

TEST_F(RegionHistoryTest, AttemptMayBeThereOrNotButDoesNotChangeOnceSeen) {
  const std::uint64_t attempt = history_.begin_write({100, 102});
  EXPECT_TRUE(accepts(100, attempt));
  EXPECT_FALSE(accepts(100, 1));
  EXPECT_TRUE(accepts(101, 1));
  EXPECT_FALSE(accepts(101, attempt));
}

TEST_F(RegionHistoryTest, EveryAttemptSinceTheAcknowledgementIsPossibleAndNoneBefore) {
  history_.begin_write({100, 101});
  const std::uint64_t sure = written({100, 101});
  const std::uint64_t first = history_.begin_write({100, 101});
  history_.begin_write({100, 101});
  EXPECT_FALSE(accepts(100, 2));
  EXPECT_FALSE(accepts(100, 1));
  EXPECT_TRUE(accepts(100, first));
  EXPECT_FALSE(accepts(100, sure));
}

TEST_F(RegionHistoryTest, PartOfAWriteMayBeAcknowledged) {
  const std::uint64_t generation = history_.begin_write({100, 104});
  history_.acknowledge({100, 102});
  EXPECT_FALSE(accepts(101, 1));
  EXPECT_TRUE(accepts(102, 1));
  EXPECT_TRUE(accepts(103, generation));
}

TEST_F(RegionHistoryTest, ZerosAreRightOnlyAfterAZeroing) {
  const Bytes zeros{};
  EXPECT_TRUE(history_.judge(100, zeros));
  history_.begin_zero({100, 101});
  EXPECT_FALSE(history_.judge(100, zeros));
  EXPECT_FALSE(accepts(100, 1));
}

TEST_F(RegionHistoryTest, ForeignShiftedAndDamagedBytesAreRefused) {
  EXPECT_THAT(history_.judge(100, bytes(101, 1)).value_or(""), HasSubstr("of sector 101"));
  Bytes foreign;
  write_contents(SectorName{8, 2, 100, 1}, foreign);
  EXPECT_THAT(history_.judge(100, foreign).value_or(""), HasSubstr("volume 0x8"));
  for (const std::size_t place : {std::size_t{0}, std::size_t{39}, std::size_t{40}, kSectorSize - 1}) {
    Bytes torn = bytes(100, 1);
    torn[place] ^= std::byte{1};
    EXPECT_THAT(history_.judge(100, torn).value_or(""), HasSubstr("damaged")) << place;
  }
}

TEST_F(RegionHistoryTest, ComplaintSaysWhetherTheGenerationWasFlushed) {
  written({100, 101});
  EXPECT_THAT(history_.judge(100, bytes(100, 1)).value_or(""), HasSubstr("not flushed"));
  history_.note_flush();
  EXPECT_THAT(history_.judge(100, bytes(100, 1)).value_or(""), HasSubstr("2, flushed"));
}

TEST_F(RegionHistoryTest, ErrorIsAllowedFromThePlantedFaultToTheNextAcknowledgement) {
  EXPECT_FALSE(history_.may_fail(SectorRange{100, 110}));
  history_.plant_read_fault(104);
  EXPECT_TRUE(history_.may_fail(SectorRange{100, 105}));
  EXPECT_FALSE(history_.may_fail(SectorRange{105, 110}));
  history_.begin_write({104, 105});
  EXPECT_TRUE(history_.may_fail(104));
  history_.acknowledge({104, 105});
  EXPECT_FALSE(history_.may_fail(104));
}

}  // namespace
}  // namespace remapfs::testing
