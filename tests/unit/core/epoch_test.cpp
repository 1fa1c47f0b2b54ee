// SPDX-License-Identifier: Apache-2.0
#include "core/epoch.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

namespace remapfs {
namespace {

TEST(Epoch, ReaderInsideHoldsBackWhatWasRetiredAfterItEntered) {
  std::optional<EpochGuard> guard(std::in_place);
  const std::uint64_t tag = advance_epoch();
  EXPECT_FALSE(readers_left(tag));
  guard.reset();
  EXPECT_TRUE(readers_left(tag));
}

TEST(Epoch, ReaderThatEnteredLaterHoldsBackNothing) {
  const std::uint64_t tag = advance_epoch();
  const EpochGuard guard;
  EXPECT_TRUE(readers_left(tag));
}

TEST(Epoch, ReaderInAnotherThreadIsSeen) {
  std::latch inside(1);
  std::latch leave(1);
  std::thread reader([&] {
    const EpochGuard guard;
    inside.count_down();
    leave.wait();
  });
  inside.wait();
  const std::uint64_t tag = advance_epoch();
  EXPECT_FALSE(readers_left(tag));
  leave.count_down();
  reader.join();
  EXPECT_TRUE(readers_left(tag));
}

TEST(Epoch, RecordsOfEndedThreadsAreUsedAgain) {
  for (int i = 0; i < 1000; ++i) {
    std::thread([] { const EpochGuard guard; }).join();
  }
  EXPECT_EQ(epoch_record_count(), 128U);
}

TEST(Epoch, MoreReadersThanReadyRecordsAreAllSeen) {
  constexpr int kReaders = 200;
  std::latch inside(kReaders);
  std::vector<std::unique_ptr<std::latch>> leave;
  std::vector<std::thread> readers;
  for (int i = 0; i < kReaders; ++i) leave.push_back(std::make_unique<std::latch>(1));
  for (int i = 0; i < kReaders; ++i) {
    readers.emplace_back([&, i] {
      const EpochGuard guard;
      inside.count_down();
      leave[static_cast<std::size_t>(i)]->wait();
    });
  }
  inside.wait();
  const std::uint64_t tag = advance_epoch();
  for (std::size_t i = 0; i < kReaders; ++i) {
    EXPECT_FALSE(readers_left(tag)) << i;
    leave[i]->count_down();
    readers[i].join();
  }
  EXPECT_TRUE(readers_left(tag));
  EXPECT_GE(epoch_record_count(), 200U);
}

TEST(Epoch, MemoryIsNeverFreedUnderAReader) {
  // The protocol as its users follow it; a reader that comes too late finds the value spoilt.
  struct Box {
    std::atomic<std::uint64_t> value{1};
  };
  std::atomic<Box*> published{new Box};
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> spoilt{0};
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&] {
      while (!stop) {
        const EpochGuard guard;
        const Box* box = published.load(std::memory_order_seq_cst);
        for (int k = 0; k < 20; ++k) {
          if (box->value.load(std::memory_order_relaxed) != 1) ++spoilt;
        }
      }
    });
  }
  for (int i = 0; i < 4000; ++i) {
    Box* old = published.exchange(new Box, std::memory_order_seq_cst);
    const std::uint64_t tag = advance_epoch();
    while (!readers_left(tag)) std::this_thread::yield();
    old->value = 0;
    delete old;
  }
  stop = true;
  for (std::thread& reader : readers) reader.join();
  delete published.load();
  EXPECT_EQ(spoilt, 0U);
}

TEST(Epoch, AnnouncementIsSeenBeforeThePointerIsRead) {
  // The narrowest race: the reader's announcement is still on its way out of its processor when it loads the pointer.
  // Boxes are spoilt as soon as readers seem to have left, and made good again long after.
  constexpr std::size_t kBoxes = 256;
  std::vector<std::atomic<bool>> spoilt(kBoxes);
  std::atomic<std::size_t> published{0};
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> seen{0};
  std::thread reader([&] {
    while (!stop.load(std::memory_order_relaxed)) {
      const EpochGuard guard;
      const std::size_t box = published.load(std::memory_order_seq_cst);
      for (int i = 0; i < 4; ++i) {
        if (spoilt[box].load(std::memory_order_relaxed)) ++seen;
      }
    }
  });
  for (std::size_t i = 1; i < 300'000; ++i) {
    const std::size_t old = (i - 1) % kBoxes;
    spoilt[i % kBoxes].store(false, std::memory_order_seq_cst);
    published.store(i % kBoxes, std::memory_order_seq_cst);
    const std::uint64_t tag = advance_epoch();
    while (!readers_left(tag)) {
    }
    spoilt[old].store(true, std::memory_order_seq_cst);
  }
  stop = true;
  reader.join();
  EXPECT_EQ(seen, 0U);
}

TEST(EpochDeathTest, SecondGuardInOneThreadIsABrokenInvariant) {
  EXPECT_DEATH(
      {
        const EpochGuard outer;
        const EpochGuard inner;
      },
      "one EpochGuard");
}

}  // namespace
}  // namespace remapfs
