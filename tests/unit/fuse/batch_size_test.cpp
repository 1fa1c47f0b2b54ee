// SPDX-License-Identifier: Apache-2.0
#include "fuse/batch_size.hpp"

#include <gtest/gtest.h>

namespace remapfs::fuse {
namespace {

TEST(BatchSize, IsHalfOfWhatIsInFlightAndNeverLessThanAFew) {
  BatchSize batch;
  EXPECT_EQ(batch.get(), 4U);
  for (const unsigned now : {0U, 1U, 8U}) {
    batch.note_in_flight(now);
    EXPECT_EQ(batch.get(), 4U) << now;
  }
  batch.note_in_flight(32);
  EXPECT_EQ(batch.get(), 16U);
  batch.note_in_flight(128);
  EXPECT_EQ(batch.get(), 64U);
}

TEST(BatchSize, StaysWhileHalfComesAndGoesAndFallsWithTheLoad) {
  BatchSize batch;
  for (int i = 0; i < 100; ++i) {
    batch.note_in_flight(32);
    batch.note_in_flight(16);
    EXPECT_GE(batch.get(), 14U);
  }
  for (int i = 0; i < 20; ++i) batch.note_in_flight(1);
  EXPECT_EQ(batch.get(), 4U);
}

}  // namespace
}  // namespace remapfs::fuse
