// SPDX-License-Identifier: Apache-2.0
#include "volume/group_commit.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "support/memory_map.hpp"

namespace remapfs::testing {
namespace {

MapTransaction lost_block(std::uint64_t block) {
  MapTransaction transaction;
  MapChange change;
  change.block = BlockIndex(block);
  change.row.block = change.block;
  transaction.changes.push_back(change);
  return transaction;
}

TEST(GroupCommit, ThreadsThatComeDuringACommitShareTheNext) {
  MemoryMap map;
  MemoryMapStore store(map, {});
  GroupCommit commits(store);
  constexpr unsigned kThreads = 16;
  std::atomic<unsigned> asked{0};
  // The first commit lasts until everybody else has come.
  store.before_commit = [&](const MapTransaction&) {
    while (asked < kThreads) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  };
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      ++asked;
      EXPECT_TRUE(commits.commit(lost_block(t)));
      EXPECT_TRUE(*commits.find_row(BlockIndex(t))) << "acknowledged before it was in the map";
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(map.rows.size(), kThreads);
  EXPECT_LE(store.commits(), 4U);
}

TEST(GroupCommit, NothingIsCommittedAfterAnUnknownOutcome) {
  MemoryMap map;
  MemoryMapStore store(map, {});
  GroupCommit commits(store);
  store.failures.push_back({Error{Errc::commit_unknown, 5, {}}, {}, {}});
  EXPECT_EQ(commits.commit(lost_block(1)).error().error.code, Errc::commit_unknown);
  EXPECT_EQ(commits.commit(lost_block(2)).error().error.code, Errc::failed);
  EXPECT_EQ(store.commits(), 1U);
  EXPECT_TRUE(commits.broken());
}

TEST(GroupCommit, CleanFailureLetsTheNextCommitThrough) {
  MemoryMap map;
  MemoryMapStore store(map, {});
  GroupCommit commits(store);
  store.failures.push_back({Error{Errc::store, 28, {}}, {}, {}});
  EXPECT_EQ(commits.commit(lost_block(1)).error().error.code, Errc::store);
  EXPECT_TRUE(commits.commit(lost_block(2)));
  EXPECT_EQ(map.rows.size(), 1U);
}

}  // namespace
}  // namespace remapfs::testing
