// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <thread>

#include "store/map_reader.hpp"
#include "store/schema.hpp"
#include "store/smart_codec.hpp"
#include "unit/store/store_fixture.hpp"

namespace remapfs::store {
namespace {

class MapStore : public StoreTest {};

TEST_F(MapStore, NewVolumeLoadsEmptyAndClean) {
  create();
  open({.read_only = true});
  EXPECT_TRUE(rows().empty());
  EXPECT_TRUE(store().info().clean);
  EXPECT_EQ(store().info().label, "test");
  EXPECT_EQ(store().info().primary_identity, "disk of a test");
  ASSERT_EQ(store().info().spares.size(), 1U);
  EXPECT_EQ(store().info().spares[0].slots, layout().slots);
  EXPECT_EQ(store().info().spares[0].first_slot, layout().first_slot);
}

TEST_F(MapStore, ScrubIsKeptAndReplacedByTheNextOne) {
  create();
  open();
  EXPECT_EQ(store().info().scrub, ScrubRecord{});
  ScrubRecord record{ScrubState::running, BlockIndex(70),         1 << 20,
                     {1, 2, 3, 4},        "2026-01-31T23:59:59Z", "2026-02-01T00:00:00Z"};
  for (const ScrubState state : {ScrubState::running, ScrubState::paused, ScrubState::stopped, ScrubState::finished}) {
    record.state = state;
    record.next = record.next + 1;
    MapTransaction transaction;
    transaction.scrub = record;
    commit(transaction);
    state == ScrubState::paused ? kill() : close();
    ASSERT_NO_FATAL_FAILURE(open());
    EXPECT_EQ(store().info().scrub, record);
  }
  close();
  EXPECT_EQ(MapReader::open(map_path())->info()->scrub, record);
  EXPECT_TRUE(findings().empty());
}

TEST_F(MapStore, SmartReadingsAreKeptTheNewestOnes) {
  create();
  open();
  SmartReading full{0, "2026-01-31T23:59:59Z", "model serial", true, 1, 2, 3, 4, -5, 6};
  SmartReading empty;
  empty.device = 1;
  empty.at = "2026-02-01T00:00:00Z";
  // Drives are known to answer with all ones.
  SmartReading odd = full;
  odd.passed = false;
  odd.reallocated = ~std::uint64_t{0};
  MapTransaction transaction;
  transaction.smart = {full, empty};
  commit(transaction);
  kill();
  ASSERT_NO_FATAL_FAILURE(open());
  transaction.smart = {odd};
  commit(transaction);
  odd.reallocated = ~std::uint64_t{0} >> 1U;
  EXPECT_EQ(*MapReader::open(map_path())->smart(), (std::vector{full, empty, odd}));
  transaction.smart.assign(static_cast<std::size_t>(kSmartKept), full);
  commit(transaction);
  EXPECT_EQ(MapReader::open(map_path())->smart()->size(), static_cast<std::size_t>(kSmartKept) + 1)
      << "and the spare's";
  close();
  EXPECT_TRUE(findings().empty());
}

class EveryBlockSize : public StoreTest,
                       public ::testing::WithParamInterface<std::pair<std::uint64_t, std::uint32_t>> {};

TEST_P(EveryBlockSize, RowsOfEveryKindComeBackAsCommitted) {
  const auto [block_size, logical_block] = GetParam();
  create(block_size, 100'000, logical_block);
  open();
  MapChange partial = put_remapped(99'999, 3);
  partial.row.valid_mask = full() >> 1U;
  partial.row.cause = Cause::discard;
  MapChange weak = put_lost(7, full());
  weak.row.state = EntryState::weak;
  weak.row.cause = Cause::weak_read;
  const std::vector<MapChange> changes{put_remapped(0, 0), partial, weak, put_lost(5, 0),
                                       put_remapped(50, layout().slots - 1)};
  commit({changes, {}, {}});
  for (int i = 0; i < 2; ++i) {
    ASSERT_NO_FATAL_FAILURE(i == 0 ? close() : kill());
    ASSERT_NO_FATAL_FAILURE(open());
    ASSERT_EQ(rows().size(), changes.size());
    for (const MapChange& change : changes) {
      ASSERT_TRUE(rows().contains(change.block));
      EXPECT_TRUE(same_content(rows().at(change.block), change.row)) << change.block.value();
    }
  }
  close();
  EXPECT_TRUE(findings().empty());
}
INSTANTIATE_TEST_SUITE_P(BlockSizes, EveryBlockSize,
                         ::testing::Values(std::pair(512U, 512U), std::pair(1024U, 512U), std::pair(2048U, 512U),
                                           std::pair(4096U, 512U), std::pair(4096U, 4096U), std::pair(8192U, 4096U),
                                           std::pair(16384U, 512U), std::pair(32768U, 4096U)));

TEST_F(MapStore, PutReplacesContentAddsErrorsAndKeepsTheTimeOfCreation) {
  create();
  open();
  commit({{put_remapped(10, 1)}, {}, {}});
  MapChange again = put_remapped(10, 1);
  again.row.valid_mask = 0x0F;
  again.row.cause = Cause::slot_error;
  again.row.error_count = 4;
  commit({{again}, {}, {}});
  const auto row = store().find_row(BlockIndex(10));
  ASSERT_OK(row);
  ASSERT_TRUE(row->has_value());
  EXPECT_EQ((*row)->valid_mask, 0x0FU);
  EXPECT_EQ((*row)->cause, Cause::slot_error);
  EXPECT_EQ((*row)->error_count, 5U);
  EXPECT_EQ((*row)->sequence, Sequence(3));  // the open took 1
  close();
  sql("UPDATE remaps SET created_at = '2001-01-01T00:00:00Z'");
  open();
  commit({{again}, {}, {}});
  auto reader = MapReader::open(map_path());
  ASSERT_OK(reader);
  const auto listed = reader->find_row(BlockIndex(10));
  ASSERT_OK(listed);
  EXPECT_EQ((*listed)->created_at, "2001-01-01T00:00:00Z");
  EXPECT_GT((*listed)->updated_at, "2001-01-01T00:00:00Z");
}

TEST_F(MapStore, ErasedAndMovedBlocksLeaveClearedTags) {
  create();
  open();
  commit({{put_remapped(10, 1), put_remapped(11, 2)}, {}, {}});
  commit({{erase(10), move(11, 2, 3)}, {}, {}});
  for (const Copy copy : kCopies) {
    EXPECT_EQ(tag_on_disk(copy, 1).kind, Tag::Kind::cleared);
    EXPECT_EQ(tag_on_disk(copy, 2).kind, Tag::Kind::cleared);
    EXPECT_EQ(tag_on_disk(copy, 2).sequence, Sequence(3));
    EXPECT_EQ(tag_on_disk(copy, 3).block, BlockIndex(11));
    EXPECT_EQ(superblock_on_disk(copy).watermark, Sequence(3));
  }
  const auto gone = store().find_row(BlockIndex(10));
  ASSERT_OK(gone);
  EXPECT_FALSE(gone->has_value());
  close();
  open();
  EXPECT_EQ(rows().size(), 1U);
}

TEST_F(MapStore, SlotOfAnErasedBlockCanBeUsedByTheNextCommit) {
  create();
  open();
  commit({{put_remapped(10, 1)}, {}, {}});
  commit({{erase(10)}, {}, {}});
  commit({{put_remapped(20, 1)}, {}, {}});
  kill();
  open();
  ASSERT_EQ(rows().size(), 1U);
  EXPECT_EQ(rows().begin()->first, BlockIndex(20));
}

TEST_F(MapStore, TransactionWithoutSlotsSyncsNoSpare) {
  create();
  open();
  spare().reset_counters();
  commit({{put_lost(1, 0), put_lost(2, 1)}, {}, {{"mount", std::nullopt, "x"}}});
  commit({{erase(2)}, {}, {}});
  EXPECT_EQ(spare().counters().syncs, 0U);
  EXPECT_EQ(spare().counters().writes, 0U);
}

TEST_F(MapStore, ThousandChangesTakeTwoSyncs) {
  create();
  open();
  MapTransaction transaction;
  for (std::uint64_t i = 0; i < 1000; ++i) transaction.changes.push_back(put_remapped(i * 7, i));
  spare().reset_counters();
  commit(transaction);
  EXPECT_EQ(spare().counters().syncs, 2U);
  EXPECT_EQ(spare().counters().writes, 4U);  // two copies of a run of tags, two superblocks
}

// One before the rows are durable, to know that the spare can be synced.
TEST_F(MapStore, EraseAloneTakesTwoSyncsAndANewSequence) {
  create();
  open();
  commit({{put_remapped(1, 1)}, {}, {}});
  const Sequence before = superblock_on_disk(Copy::a).watermark;
  spare().reset_counters();
  commit({{erase(1)}, {}, {}});
  EXPECT_EQ(spare().counters().syncs, 2U);
  EXPECT_EQ(superblock_on_disk(Copy::a).watermark, before + 1);
}

TEST_F(MapStore, RetiredSlotsAreRememberedAndRefused) {
  create();
  open();
  commit({{}, {{1, SlotIndex(4)}, {1, SlotIndex(2)}}, {}});
  for (int i = 0; i < 2; ++i) {
    const auto refused = store().commit({{put_remapped(1, 4)}, {}, {}});
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().error.code, Errc::invalid);
    close();
    open();
    EXPECT_EQ(store().info().spares[0].retired, (std::vector{SlotIndex(2), SlotIndex(4)}));
  }
}

TEST_F(MapStore, InvalidChangesAreRefusedAndChangeNothing) {
  create();
  open();
  commit({{put_remapped(1, 1), put_remapped(2, 2)}, {}, {}});
  MapChange unwritten = put_remapped(3, 3);
  unwritten.row.written_mask = 0;
  MapChange wide = put_lost(3, 0);
  wide.row.valid_mask = 0x100;
  MapChange other_spare = put_remapped(3, 3);
  other_spare.row.where.spare = 2;
  MapChange not_lost = put_lost(3, full());
  MapChange foreign_vacated = put_remapped(3, 3);
  foreign_vacated.vacated = SlotAddress{1, SlotIndex(2)};
  const std::vector<std::vector<MapChange>> bad{
      {put_remapped(100'000, 3)},           // past the end of the disk
      {put_remapped(3, layout().slots)},    // past the end of the spare
      {put_remapped(3, 1)},                 // another block's slot
      {move(1, 1, 3), put_remapped(4, 1)},  // a slot that readers may still use
      {erase(2), put_remapped(4, 2)},       // the same
      {put_lost(9, 0), unwritten},
      {wide},
      {other_spare},
      {not_lost},
      {foreign_vacated}};
  spare().reset_counters();
  for (std::size_t i = 0; i < bad.size(); ++i) {
    SCOPED_TRACE(i);
    const auto refused = store().commit({bad[i], {}, {}});
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().error.code, Errc::invalid) << describe(refused.error().error);
  }
  EXPECT_EQ(spare().counters().writes, 0U);
  close();
  EXPECT_TRUE(findings().empty());
  open();
  EXPECT_EQ(rows().size(), 2U);
}

TEST_F(MapStore, OnlyTheNewestEventsAreKept) {
  create();
  open();
  for (int i = 0; i < 25; ++i) {
    MapTransaction transaction;
    for (int j = 0; j < 500; ++j) {
      transaction.events.push_back({"kind", BlockIndex(7), std::to_string(i * 500 + j)});
    }
    commit(transaction);
  }
  auto reader = MapReader::open(map_path());
  ASSERT_OK(reader);
  const auto events = reader->newest_events(100'000);
  ASSERT_OK(events);
  ASSERT_EQ(events->size(), static_cast<std::size_t>(kEventsKept));
  EXPECT_EQ(events->back().event.detail, "12499");
  EXPECT_EQ(events->front().event.detail, "2500");
  const auto after = reader->events_after(events->back().id - 2, 1);
  ASSERT_OK(after);
  ASSERT_EQ(after->size(), 1U);
  EXPECT_EQ((*after)[0].event.detail, "12498");
  EXPECT_EQ((*after)[0].event.block, BlockIndex(7));
}

TEST_F(MapStore, ReadOnlyOpenWritesNothingAnywhere) {
  create();
  open();
  commit({{put_remapped(1, 1)}, {}, {}});
  for (const bool orderly : {true, false}) {
    SCOPED_TRACE(orderly);
    orderly ? close() : kill();
    std::filesystem::remove(map_path() + "-shm");
    const Files before = save_map();
    spare().reset_counters();
    open({.read_only = true});
    EXPECT_EQ(rows().size(), 1U);
    const auto row = store().find_row(BlockIndex(1));
    ASSERT_OK(row);
    EXPECT_TRUE(row->has_value());
    const auto refused = store().commit({{erase(1)}, {}, {}});
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().error.code, Errc::read_only);
    EXPECT_FALSE(std::filesystem::exists(map_path() + "-shm"));
    close();
    EXPECT_EQ(save_map().content, before.content);
    EXPECT_EQ(spare().counters().writes + spare().counters().syncs + spare().counters().zeroes, 0U);
    open();
    EXPECT_EQ(rows().size(), 1U);
  }
}

TEST_F(MapStore, OrderlyCloseLeavesOneFileAndAMarkOfCleanliness) {
  create();
  open();
  commit({{put_remapped(1, 1)}, {}, {}});
  close();
  EXPECT_FALSE(std::filesystem::exists(map_path() + "-wal"));
  open({.read_only = true});
  EXPECT_TRUE(store().info().clean);
  close();
  open();
  kill();
  open({.read_only = true});
  EXPECT_FALSE(store().info().clean);
}

TEST_F(MapStore, MissingSpareIsRefusedUnlessDegradedAndReadOnly) {
  create();
  open();
  commit({{put_remapped(1, 1), put_lost(2, 0)}, {}, {}});
  close();
  EXPECT_EQ(SqliteMapStore::open(map_path(), {.degraded = true}).error().code, Errc::invalid);
  const auto nothing = [](std::span<const RemapRow>) -> Result<void> { return {}; };
  {
    auto store = SqliteMapStore::open(map_path(), {.read_only = true});
    ASSERT_OK(store);
    const auto refused = (*store)->load(nothing);
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code, Errc::not_found);
  }
  auto store = SqliteMapStore::open(map_path(), {.read_only = true, .degraded = true});
  ASSERT_OK(store);
  ASSERT_OK((*store)->load(nothing));
  EXPECT_TRUE((*store)->info().spares[0].missing);
}

TEST_F(MapStore, ErrorOfTheVisitorEndsTheLoad) {
  create();
  open();
  commit({{put_remapped(1, 1), put_remapped(2, 2)}, {}, {}});
  close();
  auto store = SqliteMapStore::open(map_path(), {});
  ASSERT_OK(store);
  ASSERT_OK((*store)->attach_spare(1, spare()));
  int calls = 0;
  const auto stopped = (*store)->load([&](std::span<const RemapRow>) -> Result<void> {
    ++calls;
    return fail(Errc::no_memory);
  });
  ASSERT_FALSE(stopped.has_value());
  EXPECT_EQ(stopped.error().code, Errc::no_memory);
  EXPECT_EQ(calls, 1);
}

// What is committed into a file that has lost its name is lost with it.
TEST_F(MapStore, MapOrLogThatWasTakenAwayTakesNoCommit) {
  for (const char* suffix : {"", "-wal"}) {
    SCOPED_TRACE(suffix);
    std::filesystem::remove(map_path());
    create();
    open();
    commit({{put_lost(1, 0)}, {}, {}});
    std::filesystem::rename(map_path() + suffix, directory_ / "elsewhere");
    const auto refused = store().commit({{put_lost(2, 0)}, {}, {}});
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().error.code, Errc::store);
    EXPECT_NE(refused.error().error.message.find("deleted, renamed or replaced"), std::string::npos);
    std::filesystem::rename(directory_ / "elsewhere", map_path() + suffix);
    commit({{put_lost(3, 0)}, {}, {}});
    close();
    open();
    EXPECT_EQ(rows().size(), 2U);
    close();
  }
  open();
  std::filesystem::rename(map_path(), directory_ / "elsewhere");
  EXPECT_EQ(store().close().error().code, Errc::store);
}

TEST_F(MapStore, SecondOpenIsBusyInThisAndInAnotherProcess) {
  create();
  open();
  EXPECT_EQ(SqliteMapStore::open(map_path(), {}).error().code, Errc::busy);
  EXPECT_EQ(SqliteMapStore::open(map_path(), {.read_only = true}).error().code, Errc::busy);
  std::filesystem::create_symlink(map_path(), directory_ / "link");
  EXPECT_EQ(SqliteMapStore::open(directory_ / "link", {}).error().code, Errc::busy);
  const pid_t child = ::fork();
  if (child == 0) {
    // Not the exec of another program: the lock must hold against whoever has its own descriptor.
    const int fd = ::open(map_path().c_str(), O_RDWR);
    ::_exit(::flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 1);
  // The refused opens took nothing from the one that is there.
  commit({{put_remapped(1, 1)}, {}, {}});
  ASSERT_OK(store().close());
  auto next = SqliteMapStore::open(map_path(), {});  // close() itself ends ownership
  ASSERT_OK(next);
}

TEST_F(MapStore, AMapThatAnotherProcessStillHasIsWaitedForWhenAsked) {
  create();
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe(pipe.data()), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const int fd = ::open(map_path().c_str(), O_RDWR);
    const bool has_it = ::flock(fd, LOCK_EX | LOCK_NB) == 0 && ::write(pipe[1], "x", 1) == 1;
    ::usleep(300'000);
    ::_exit(has_it ? 0 : 1);
  }
  char told = 0;
  ASSERT_EQ(::read(pipe[0], &told, 1), 1);
  EXPECT_EQ(SqliteMapStore::open(map_path(), {}).error().code, Errc::busy);
  EXPECT_EQ(SqliteMapStore::open(map_path(), {.lock_wait = std::chrono::milliseconds(20)}).error().code, Errc::busy);
  const auto begun = std::chrono::steady_clock::now();
  const auto opened = SqliteMapStore::open(map_path(), {.lock_wait = std::chrono::seconds(20)});
  EXPECT_GE(std::chrono::steady_clock::now() - begun, std::chrono::milliseconds(100));
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  ASSERT_OK(opened);
  ::close(pipe[0]);
  ::close(pipe[1]);
}

TEST_F(MapStore, ReadersInALoopNeverFailOrDelayACommit) {
  create(4096, 100'000, 512, 16 * kMiB);
  open();
  commit({{put_remapped(1, 1)}, {}, {}});
  std::atomic<bool> stop = false;
  std::atomic<std::uint64_t> reads = 0;
  std::atomic<std::uint64_t> failures = 0;
  std::thread reader([&] {
    auto map = MapReader::open(map_path());
    while (!stop) {
      std::uint64_t rows = 0;
      const auto done = map->for_each_row([&](const ListedRow&) -> Result<void> {
        ++rows;
        return {};
      });
      (done && rows > 0 ? reads : failures)++;
    }
  });
  // One that never ends its transaction.
  SQLite::Database stuck(map_path(), SQLite::OPEN_READONLY);
  SQLite::Statement select(stuck, "SELECT block FROM remaps");
  ASSERT_TRUE(select.executeStep());
  auto slowest = std::chrono::steady_clock::duration::zero();
  for (std::uint64_t i = 2; i < 1800; ++i) {
    const auto start = std::chrono::steady_clock::now();
    ASSERT_NO_FATAL_FAILURE(commit({{put_remapped(i, i)}, {}, {}}));
    slowest = std::max(slowest, std::chrono::steady_clock::now() - start);
  }
  stop = true;
  reader.join();
  EXPECT_GT(reads, 0U);
  EXPECT_EQ(failures, 0U);
  EXPECT_LT(slowest, std::chrono::seconds(1));
  close();  // with a reader still there
  open();
  EXPECT_EQ(rows().size(), 1799U);
}

}  // namespace
}  // namespace remapfs::store
