// SPDX-License-Identifier: Apache-2.0
#include "fuse/page_arena.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

namespace remapfs::fuse {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kArena = std::size_t{8} << 20U;

std::size_t page_of(const PageArena& arena, std::span<std::byte> room) {
  return static_cast<std::size_t>(room.data() - arena.bytes().data()) / kPage;
}

TEST(PageArena, RoomHoldsTheLargestRequestAndIsPageAligned) {
  auto arena = PageArena::create(kArena);
  ASSERT_TRUE(arena);
  const auto room = arena->room();
  ASSERT_EQ(room.size(), request_room());
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(room.data()) % kPage, 0U);
  EXPECT_EQ(arena->room().data(), room.data()) << "the same until it is taken";
}

TEST(PageArena, RequestKeepsOnlyThePagesItNeeds) {
  auto arena = PageArena::create(kArena);
  ASSERT_TRUE(arena);
  const auto first = arena->room();
  const auto area = arena->take(kPage + 1);
  EXPECT_EQ(area.count, 2U);
  EXPECT_EQ(arena->room().data(), first.data() + 2 * kPage);
}

TEST(PageArena, IsFullWhenNoHoleIsLargeEnoughAndRecovers) {
  auto arena = PageArena::create(kArena);
  ASSERT_TRUE(arena);
  std::vector<PageArena::Area> large;
  while (!arena->room().empty()) large.push_back(arena->take(request_room()));
  EXPECT_EQ(large.size(), kArena / request_room());
  arena->give_back(large[3]);
  EXPECT_EQ(page_of(*arena, arena->room()), large[3].first);
}

TEST(PageArena, WhatStaysForLongDoesNotCutTheRoomToPieces) {
  auto arena = PageArena::create(kArena);
  ASSERT_TRUE(arena);
  std::vector<PageArena::Area> staying;
  for (std::uint32_t i = 0; i < 200; ++i) {
    // Others come and go in between.
    ASSERT_FALSE(arena->room().empty()) << "after " << i;
    const auto passing = arena->take(150 * kPage);
    ASSERT_FALSE(arena->room().empty()) << "after " << i;
    auto area = arena->take(3 * kPage);
    std::fill_n(arena->begin_of(area) + kPage, 2 * kPage, static_cast<std::byte>(i));
    area = arena->move_up(area, 1);
    EXPECT_EQ(area.count, 2U);
    staying.push_back(area);
    arena->give_back(passing);
  }
  for (std::uint32_t i = 0; i < staying.size(); ++i) {
    for (std::size_t at = 0; at < 2 * kPage; ++at) {
      ASSERT_EQ(arena->begin_of(staying[i])[at], static_cast<std::byte>(i)) << "area " << i;
    }
  }
}

TEST(PageArena, AreasNeverOverlap) {
  auto arena = PageArena::create(kArena);
  ASSERT_TRUE(arena);
  std::mt19937 random(7);
  std::vector<PageArena::Area> held;
  std::vector<bool> taken(kArena / kPage);
  std::size_t full = 0;
  for (int step = 0; step < 200000; ++step) {
    const auto room = arena->room();
    if (room.empty()) ++full;
    if (!room.empty() && (held.empty() || random() % 100 < 51)) {
      ASSERT_LE(room.data() + room.size(), arena->bytes().data() + arena->bytes().size());
      const std::size_t begin = page_of(*arena, room);
      for (std::size_t i = begin; i < begin + room.size() / kPage; ++i) ASSERT_FALSE(taken[i]) << "page " << i;
      const auto area = arena->take(random() % 8 == 0 ? 1 + random() % request_room() : 2 * kPage);
      ASSERT_EQ(area.first, begin);
      for (std::size_t i = 0; i < area.count; ++i) taken[begin + i] = true;
      held.push_back(area);
      if (area.count > 1 && random() % 4 == 0) {
        for (std::size_t i = 0; i < area.count; ++i) taken[begin + i] = false;
        const auto moved = arena->move_up(area, 1);
        for (std::size_t i = moved.first; i < moved.first + moved.count; ++i) {
          ASSERT_FALSE(taken[i]) << "page " << i;
          taken[i] = true;
        }
        held.back() = moved;
      }
    } else if (!held.empty()) {
      const std::size_t which = random() % held.size();
      for (std::size_t i = 0; i < held[which].count; ++i) taken[held[which].first + i] = false;
      arena->give_back(held[which]);
      held[which] = held.back();
      held.pop_back();
    }
  }
  EXPECT_GT(full, 0U);
  for (const auto area : held) arena->give_back(area);
  EXPECT_FALSE(arena->room().empty());
}

}  // namespace
}  // namespace remapfs::fuse
