// SPDX-License-Identifier: Apache-2.0
#include "volume/group_commit.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "support/forwarding_store.hpp"
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

// A store that refuses any transaction with block 3, since it cannot be, or not now.
class ImpossibleTransaction : public ::testing::TestWithParam<Errc> {};

TEST_P(ImpossibleTransaction, FailsAlone) {
  class Picky final : public ForwardingStore {
   public:
    explicit Picky(MemoryMap& map) : ForwardingStore(std::make_unique<MemoryMapStore>(map, MemoryMapStore::Spares{})) {}
    tl::expected<CommitReport, CommitFailure> commit(const MapTransaction& transaction) override {
      while (waiting > 0) std::this_thread::yield();
      for (const MapChange& change : transaction.changes) {
        if (change.block == BlockIndex(3)) return tl::unexpected<CommitFailure>({Error{GetParam(), 0, {}}, {}, {}});
      }
      return inner().commit(transaction);
    }
    std::atomic<int> waiting{8};
  };
  MemoryMap map;
  Picky store(map);
  GroupCommit commits(store);
  std::vector<std::thread> threads;
  for (std::uint64_t block = 0; block < 8; ++block) {
    threads.emplace_back([&, block] {
      --store.waiting;
      EXPECT_EQ(commits.commit(lost_block(block)).has_value(), block != 3) << block;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(map.rows.size(), 7U);
}

INSTANTIATE_TEST_SUITE_P(GroupCommit, ImpossibleTransaction, ::testing::Values(Errc::invalid, Errc::suspended));

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

// A store whose first commit waits until it is let go.
class Patient {
 public:
  Patient() {
    store.before_commit = [this](const MapTransaction&) {
      begun = true;
      while (!let_go) std::this_thread::yield();
    };
    threads.emplace_back([this] { first = commits.commit(lost_block(0)).has_value(); });
    while (!begun) std::this_thread::yield();
  }
  // Threads that commit; returns when all of them wait, as far as can be told.
  void add_committers(unsigned count) {
    for (unsigned i = 0; i < count; ++i) {
      threads.emplace_back([this, block = ++last_block] {
        ++coming;
        const auto done = commits.commit(lost_block(block));
        if (done) ++succeeded;
        if (!done && done.error().error.code == Errc::failed) ++failed;
      });
    }
    while (coming < last_block) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  void finish() {
    let_go = true;
    for (std::thread& thread : threads) thread.join();
    threads.clear();
  }

  MemoryMap map;
  MemoryMapStore store{map, {}};
  GroupCommit commits{store};
  std::atomic<bool> begun = false;
  std::atomic<bool> let_go = false;
  std::atomic<bool> first = false;
  std::atomic<unsigned> coming = 0;
  std::atomic<unsigned> succeeded = 0;
  std::atomic<unsigned> failed = 0;
  unsigned last_block = 0;
  std::vector<std::thread> threads;
};

TEST(GroupCommit, ThoseWhoWaitAreToldWhenTheOutcomeOfAnotherCommitIsUnknown) {
  Patient store;
  store.store.failures.push_back({Error{Errc::commit_unknown, 5, {}}, {}, {}});
  store.add_committers(8);
  store.finish();
  EXPECT_FALSE(store.first);
  EXPECT_EQ(store.failed, 8U);
  EXPECT_EQ(store.store.commits(), 1U);
}

TEST(GroupCommit, ThoseWhoWaitAreToldWhenItIsClosed) {
  Patient store;
  store.threads.emplace_back([&] { EXPECT_TRUE(store.commits.close()); });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  store.add_committers(4);
  store.finish();
  EXPECT_TRUE(store.first);
  EXPECT_EQ(store.failed, 4U);
}

TEST(GroupCommit, WhoeverIsNoCommitterGoesFirstAndThenAllOfThemAtOnce) {
  Patient store;
  store.add_committers(2);
  std::uint64_t commits_before = 0;
  store.threads.emplace_back([&] { store.commits.between_commits([&] { commits_before = store.store.commits(); }); });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  store.add_committers(2);
  store.finish();
  EXPECT_EQ(commits_before, 1U);
  EXPECT_EQ(store.succeeded, 4U);
  EXPECT_EQ(store.store.commits(), 2U);
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
