// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <iostream>
#include <memory>
#include <sstream>
#include <thread>

#include "e2e/kill/load_thread.hpp"
#include "e2e/kill/mounted_volume.hpp"
#include "e2e/kill/scratch.hpp"
#include "support/random.hpp"
#include "support/soak.hpp"

// Promises I2 and I4 against SIGKILL: a disk whose sectors die is written, flushed, and its blocks moved back and
// forth, when the daemon is killed. What was acknowledged is there after the next mount, and no slot has two owners.

namespace remapfs::testing {
namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20U;
constexpr std::uint64_t kPrimarySize = 32 * kMiB;
constexpr std::uint64_t kSpareSize = 64 * kMiB;
constexpr std::uint64_t kThreads = 4;
constexpr std::uint64_t kRegionSectors = 4 * kMiB / kSectorSize;
// The rest of the disk never fails: the breaker has somewhere to see that the disk works.
constexpr std::uint64_t kLoadedSectors = kThreads * kRegionSectors;
constexpr std::uint64_t kSlotsInUse = 800;  // more or less

// One volume and the rounds it goes through.
class KilledVolume {
 public:
  KilledVolume(std::uint64_t block_size, Random random);

  // Load, kill, remount, verify everything. The volume is mounted before and after.
  void round();
  void unmount_and_check();
  // Of all rounds.
  [[nodiscard]] const Account& account() const { return account_; }
  [[nodiscard]] std::uint64_t disk_failures() const { return disk_failures_; }
  [[nodiscard]] std::uint64_t remapped() const { return remapped_; }
  [[nodiscard]] std::uint64_t moved() const { return moved_; }

 private:
  void fill_platter();
  void plant_faults();
  [[nodiscard]] std::vector<std::uint64_t> draw(std::uint64_t count, std::uint64_t begin, std::uint64_t end);
  void load_and_kill();
  void move_blocks_by_hand(const std::atomic<bool>& dying, Random random, Account& account);
  void expect_no_damage();
  void remount_and_verify();
  void expect_one_owner_a_slot();

  const std::uint64_t block_size_;
  Random random_;
  const std::uint64_t nonce_ = random_();
  ScratchDirectory directory_;
  std::vector<RegionHistory> regions_;
  std::unique_ptr<FailingDisk> primary_;
  std::unique_ptr<FailingDisk> spare_;
  MountedVolume volume_{directory_};
  std::uint64_t first_slot_ = 0;
  Account account_;
  std::uint64_t disk_failures_ = 0;
  std::uint64_t remapped_ = 0;
  std::uint64_t moved_ = 0;
};

KilledVolume::KilledVolume(std::uint64_t block_size, Random random) : block_size_(block_size), random_(random) {
  for (std::uint64_t thread = 0; thread < kThreads; ++thread) {
    regions_.emplace_back(nonce_, thread, SectorRange{thread * kRegionSectors, (thread + 1) * kRegionSectors});
  }
  fill_platter();
  primary_ = std::make_unique<FailingDisk>(directory_, "primary", kPrimarySize);
  spare_ = std::make_unique<FailingDisk>(directory_, "spare", kSpareSize);
  volume_.create(primary_->path(), spare_->path(), {"--block-size", std::to_string(block_size)});
  first_slot_ = std::stoull(volume_.query("SELECT first_slot FROM devices WHERE role = 'spare'"));
  volume_.mount();
}

void KilledVolume::fill_platter() {
  const OpenFile image(directory_ / "primary.img", O_RDWR | O_CREAT);
  std::vector<std::byte> bytes(kRegionSectors * kSectorSize);
  for (const RegionHistory& region : regions_) {
    const SectorRange sectors = region.sectors();
    for (std::uint64_t i = 0; i < sectors.size(); ++i) {
      write_contents(region.name(sectors.begin + i, 1), std::span(bytes).subspan(i * kSectorSize).first<kSectorSize>());
    }
    const auto at = static_cast<off_t>(sectors.begin * kSectorSize);
    ASSERT_EQ(::pwrite(image.fd(), bytes.data(), bytes.size(), at), static_cast<ssize_t>(bytes.size()));
  }
}

std::vector<std::uint64_t> KilledVolume::draw(std::uint64_t count, std::uint64_t begin, std::uint64_t end) {
  std::vector<std::uint64_t> sectors(count);
  for (std::uint64_t& sector : sectors) sector = random_.between(begin, end);
  return sectors;
}

// Other sectors in every round. Reads of the spare fail once only: it is the primary whose data may be lost.
void KilledVolume::plant_faults() {
  disk_failures_ += primary_->failures() + spare_->failures();
  primary_->clear_rules();
  spare_->clear_rules();
  const std::uint64_t blocks = kLoadedSectors * kSectorSize / block_size_;
  const std::uint64_t some = std::min<std::uint64_t>(kLoadedSectors / 400, blocks / 16);
  const auto of_primary = [&] {
    std::vector<std::uint64_t> sectors = draw(some, 0, kLoadedSectors);
    for (std::size_t i = 0; i < sectors.size() / 2; ++i)
      sectors[i] -= sectors[i] % kRegionSectors / kHotSectors * kHotSectors;
    return sectors;
  };
  primary_->add_rule(of_primary(), "op=write");
  primary_->add_rule(of_primary(), "op=write,mode=times:1");
  primary_->add_rule(of_primary(), "op=read,mode=times:1");
  const std::vector<std::uint64_t> lost = of_primary();
  primary_->add_rule(lost, "op=read,mode=until-written");
  for (const std::uint64_t sector : lost) regions_[sector / kRegionSectors].plant_read_fault(sector);

  // Where slots are taken: the first few hundred.
  const std::uint64_t begin = first_slot_ / kSectorSize;
  const std::uint64_t end = begin + kSlotsInUse * block_size_ / kSectorSize;
  const auto of_spare = [&] { return draw(kSlotsInUse / 16, begin, end); };
  spare_->add_rule(of_spare(), "op=write");
  spare_->add_rule(of_spare(), "op=write,mode=times:1");
  spare_->add_rule(of_spare(), "op=read,mode=times:1");
}

// What an operator's shell may be doing meanwhile: it gives slots back, so that they are used again.
void KilledVolume::move_blocks_by_hand(const std::atomic<bool>& dying, Random random, Account& account) {
  const std::uint64_t blocks = kLoadedSectors * kSectorSize / block_size_;
  while (!dying) {
    const std::uint64_t length = random.between(1, blocks / 32);
    const std::uint64_t begin = random.below(blocks - length);
    static constexpr std::array<const char*, 4> kVerbs{"remove", "remove", "add", "retest"};
    const std::string verb = kVerbs[random.below(kVerbs.size())];
    const std::uint64_t end = verb == "add" ? begin + length / 16 : begin + length - 1;
    const Ran ran = volume_.ask(verb, {fmt::format("{}-{}", begin, end)});
    if (ran.code != 0 && ran.code != 2) account.complain(fmt::format("{}: ended with {}: {}", verb, ran.code, ran.err));
  }
}

void KilledVolume::load_and_kill() {
  std::atomic<bool> dying = false;
  std::vector<std::unique_ptr<LoadThread>> threads;
  for (RegionHistory& region : regions_) {
    threads.push_back(std::make_unique<LoadThread>(volume_.disk(), region, random_.fork(), dying));
  }
  Account by_hand;
  std::thread operator_thread([&, random = random_.fork()] { move_blocks_by_hand(dying, random, by_hand); });
  const bool unmount_at_once = random_.one_in(2);
  std::this_thread::sleep_for(std::chrono::milliseconds(random_.between(5, 401)));
  dying = true;
  volume_.kill();
  if (unmount_at_once) volume_.unmount_dead();
  for (const auto& thread : threads) account_ += thread->join();
  operator_thread.join();
  account_ += by_hand;
  volume_.wait_until_dead();
  if (!unmount_at_once) volume_.unmount_dead();
}

// Straight after the crash: some things wait for the next mount, none is wrong.
void KilledVolume::expect_no_damage() {
  const Ran ran = volume_.check();
  EXPECT_TRUE(ran.code == 0 || ran.code == 2) << ran.code << ran.err;
  std::istringstream lines(ran.out);
  for (std::string line; std::getline(lines, line);) {
    EXPECT_TRUE(line == "clean" || line.starts_with("will be mended:")) << line;
  }
}

void KilledVolume::remount_and_verify() {
  volume_.mount();
  std::array<Account, kThreads> accounts;
  std::vector<std::jthread> threads;
  for (std::uint64_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] { verify_region(volume_.disk(), regions_[i], accounts[i]); });
  }
  threads.clear();
  for (const Account& account : accounts) account_ += account;
  const auto status = volume_.status();
  const std::string state = status.at("state");
  EXPECT_TRUE(state == "healthy" || state == "degraded") << status.dump(2);
}

void KilledVolume::expect_one_owner_a_slot() {
  // Past the index, which could be the part that is damaged.
  EXPECT_EQ(volume_.query("SELECT spare_id, slot, count(*) FROM remaps NOT INDEXED WHERE slot IS NOT NULL "
                          "GROUP BY spare_id, slot HAVING count(*) > 1"),
            "");
  EXPECT_EQ(volume_.query("PRAGMA integrity_check"), "ok\n");
  remapped_ = std::stoull(volume_.query("SELECT count(*) FROM remaps WHERE state = 'remapped'"));
  moved_ = std::stoull(volume_.query("SELECT count(*) FROM remaps WHERE cause = 'slot_error' AND state = 'remapped'"));
}

void KilledVolume::unmount_and_check() {
  volume_.unmount();
  const Ran ran = volume_.check();
  EXPECT_EQ(ran.code, 0) << ran.out << ran.err;
  expect_one_owner_a_slot();
}

void KilledVolume::round() {
  plant_faults();
  load_and_kill();
  expect_no_damage();
  remount_and_verify();
  unmount_and_check();
  // Once more: what was read must not change by itself.
  remount_and_verify();
  for (const std::string& complaint : account_.complaints) ADD_FAILURE() << complaint;
}

TEST(KillTheDaemon, AcknowledgedDataIsThereAfterRemountAndNoSlotHasTwoOwners) {
  const std::uint64_t seed = test_seed();
  SCOPED_TRACE(seed_message(seed));
  Random random(seed);
  static constexpr std::array<std::uint64_t, 3> kBlockSizes{4096, 512, 32768};
  const unsigned rounds = soaking() ? 200 : 15;
  const unsigned rounds_a_volume = soaking() ? 20 : 5;
  Account total;
  std::uint64_t disk_failures = 0;
  std::uint64_t remapped = 0;
  std::uint64_t moved = 0;
  for (unsigned done = 0; done < rounds;) {
    const std::uint64_t block_size = kBlockSizes[done / rounds_a_volume % kBlockSizes.size()];
    KilledVolume volume(block_size, random.fork());
    for (unsigned i = 0; i < rounds_a_volume; ++i) {
      SCOPED_TRACE(fmt::format("round {}, block size {}", ++done, block_size));
      volume.round();
      if (::testing::Test::HasFailure()) return;
    }
    total += volume.account();
    disk_failures += volume.disk_failures();
    remapped += volume.remapped();
    moved += volume.moved();
  }
  std::cout << fmt::format(
      "{} rounds: {} writes, {} flushes, {} changes cut off, {} reads failed as they may; {} requests failed by the "
      "disks, {} blocks remapped, {} of them moved on from a bad slot\n",
      rounds, total.writes, total.flushes, total.interrupted, total.read_errors, disk_failures, remapped, moved);
  // The rounds must have been about something.
  EXPECT_GT(total.flushes, rounds);
  EXPECT_GT(total.interrupted, rounds / 2);
  EXPECT_GT(total.read_errors, rounds);
  EXPECT_GT(disk_failures, rounds * 10);
  EXPECT_GT(remapped, rounds * 5);
  EXPECT_GT(moved, 0U);
}

}  // namespace
}  // namespace remapfs::testing
