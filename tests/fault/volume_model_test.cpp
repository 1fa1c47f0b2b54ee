// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <set>
#include <vector>

#include "support/random.hpp"
#include "support/soak.hpp"
#include "support/sqlite_backend.hpp"
#include "support/volume_rig.hpp"

// A volume against a plain vector of bytes, under a million random operations: requests, faults that come and go on
// both devices, the operator's verbs, remounts. Once with the map in memory, and once with the real store, which is
// killed now and then, whose tags meet the spare's faults too.

namespace remapfs::testing {
namespace {

class Model {
 public:
  Model(const RigOptions& options, std::uint64_t seed, std::unique_ptr<MapBackend> backend)
      : first_faulty_on_spare_(backend ? 0 : VolumeRig::kFirstSlot),
        rig_(options, std::move(backend)),
        random_(seed),
        size_(options.disk_bytes),
        bytes_(size_),
        uncertain_(size_ / kSectorSize),
        was_bad_(size_ / kSectorSize) {
    random_.fill(bytes_);
    rig_.primary->poke(ByteOffset(0), bytes_);
  }

  void step() {
    const std::uint64_t dice = random_.below(1000);
    if (dice < 450) return read();
    if (dice < 850) return write();
    if (dice < 870) return zero();
    if (dice < 880) return flush();
    if (dice < 910) return add_primary_fault();
    if (dice < 930) return remove_primary_fault();
    if (dice < 934) return toggle_spare_faults();
    if (dice < 998) return operator_verb();
    if (random_.one_in(2)) rig_.kill();
    rig_.remount();
  }

  void check_everything() {
    rig_.primary->clear_faults();
    rig_.spare().clear_faults();
    spare_fault_ = 0;
    bad_.clear();
    faults_.clear();
    rig_.remount();
    for (std::uint64_t at = 0; at < size_; at += kSectorSize) check_read(at, kSectorSize);
    EXPECT_NE(rig_.volume->status().state, VolumeState::suspended);
    EXPECT_NE(rig_.volume->status().state, VolumeState::failed);
  }

  [[nodiscard]] VolumeRig& rig() { return rig_; }

 private:
  struct PrimaryFault {
    FaultId id;
    std::uint64_t first;
    std::uint64_t count;
  };

  [[nodiscard]] bool known_lost(std::uint64_t sector) const {
    const std::uint64_t per_block = rig_.geometry().sectors_per_block();
    const auto row = rig_.row(sector / per_block);
    return row && (row->valid_mask >> (sector % per_block) & 1U) == 0;
  }

  template <class Test>
  [[nodiscard]] bool any_sector(std::uint64_t offset, std::uint64_t length, Test&& test) const {
    for (std::uint64_t s = offset / kSectorSize; s * kSectorSize < offset + length; ++s) {
      if (test(s)) return true;
    }
    return false;
  }

  // Mostly small, at any offset; now and then large; often on the grid.
  std::pair<std::uint64_t, std::uint64_t> some_range() {
    std::uint64_t length = random_.one_in(50) ? random_.between(1, 200000) : random_.between(1, 9000);
    std::uint64_t offset = random_.below(size_);
    if (!random_.one_in(3)) {
      offset = round_down(offset, kSectorSize);
      length = round_up(length, kSectorSize);
    }
    return {offset, std::min(length, size_ - offset)};
  }

  void read() {
    const auto [offset, length] = some_range();
    check_read(offset, length);
  }

  void check_read(std::uint64_t offset, std::uint64_t length) {
    const bool must_fail = any_sector(offset, length, [&](std::uint64_t s) { return known_lost(s); });
    const auto got = random_.one_in(2) ? rig_.read(offset, length) : rig_.read_directly(offset, length);
    if (!got) {
      // Only a sector that really failed may fail a read.
      const bool may_fail = must_fail || spare_fault_ != 0 || any_sector(offset, length, [&](std::uint64_t s) {
                              return known_lost(s) || bad_.contains(s);
                            });
      ASSERT_TRUE(may_fail) << describe(got.error()) << " at " << offset << '+' << length;
      ASSERT_FALSE(any_sector(offset, length, [&](std::uint64_t s) { return known_lost(s) && !was_bad_[s]; }))
          << "a sector that never failed was recorded as lost, at " << offset << '+' << length;
      return;
    }
    ASSERT_FALSE(must_fail) << "a lost sector was served at " << offset << '+' << length;
    ASSERT_EQ(got->size(), length);
    if (std::memcmp(got->data(), bytes_.data() + offset, length) == 0) return;
    for (std::uint64_t i = 0; i < length; ++i) {
      const std::uint64_t at = offset + i;
      if (uncertain_[at / kSectorSize]) continue;
      ASSERT_EQ((*got)[i], bytes_[at]) << "wrong byte at " << at << ", sector " << at / kSectorSize;
    }
  }

  void store(std::uint64_t offset, std::uint64_t length, const std::byte* data, const Result<void>& result,
             const char* what) {
    if (result) {
      if (data != nullptr) {
        std::memcpy(bytes_.data() + offset, data, length);
      } else {
        std::memset(bytes_.data() + offset, 0, length);
      }
      // Part of a sector of unknown content leaves it unknown.
      for (std::uint64_t s = (offset + kSectorSize - 1) / kSectorSize; (s + 1) * kSectorSize <= offset + length; ++s) {
        uncertain_[s] = false;
      }
      ASSERT_FALSE(any_sector(offset, length, [&](std::uint64_t s) { return known_lost(s); }))
          << what << " left a lost sector at " << offset << '+' << length;
      return;
    }
    const std::uint64_t end = offset + length;
    const bool cuts_bad_sector = any_sector(offset, length, [&](std::uint64_t s) {
      const bool cut = s * kSectorSize < offset || (s + 1) * kSectorSize > end;
      return cut && (bad_.contains(s) || known_lost(s));
    });
    ASSERT_TRUE(cuts_bad_sector || spare_fault_ != 0 || rig_.volume->status().slots_free == 0)
        << what << " failed at " << offset << '+' << length << ": " << describe(result.error());
    for (std::uint64_t s = offset / kSectorSize; s * kSectorSize < end; ++s) uncertain_[s] = true;
  }

  void write() {
    const auto [offset, length] = some_range();
    const auto data = pattern(offset, length, ++version_);
    const auto done = random_.one_in(2) ? rig_.write(offset, data) : rig_.write_directly(offset, data);
    store(offset, length, data.data(), done, "write");
  }

  void zero() {
    const auto [offset, length] = some_range();
    const ByteRange range{ByteOffset(offset), ByteOffset(offset + length)};
    const bool punch = random_.one_in(2) && rig_.volume->can_punch();
    store(offset, length, nullptr, punch ? rig_.volume->punch(range) : rig_.volume->zero(range), "zero");
  }

  void flush() { ASSERT_TRUE(rig_.volume->flush()); }

  void add_primary_fault() {
    // Few enough that the device as a whole works.
    if (faults_.size() >= 24) return remove_primary_fault();
    FaultRule rule;
    const std::uint64_t first = random_.below(size_ / kSectorSize);
    const std::uint64_t count = std::min(random_.between(1, 12), size_ / kSectorSize - first);
    rule.range = {ByteOffset(first * kSectorSize), ByteOffset((first + count) * kSectorSize)};
    rule.on = static_cast<FaultRule::On>(random_.below(3));
    rule.lasts = static_cast<FaultRule::Lasts>(random_.below(3));
    rule.times = random_.between(1, 6);
    // A logical block of the device fails as a whole.
    const std::uint64_t unit = rig_.primary->geometry().logical_block / kSectorSize;
    const std::uint64_t begin = round_down(first, unit);
    const std::uint64_t end = std::min(round_up(first + count, unit), size_ / kSectorSize);
    faults_.push_back({rig_.primary->add_fault(rule), begin, end - begin});
    if (rule.on == FaultRule::On::write) return recount();
    for (std::uint64_t s = begin; s < end; ++s) was_bad_[s] = true;
    recount();
  }

  void remove_primary_fault() {
    if (faults_.empty()) return;
    const std::size_t which = random_.below(faults_.size());
    rig_.primary->remove_fault(faults_[which].id);
    faults_.erase(faults_.begin() + static_cast<std::ptrdiff_t>(which));
    recount();
  }

  void recount() {
    bad_.clear();
    for (const PrimaryFault& fault : faults_) {
      for (std::uint64_t s = fault.first; s < fault.first + fault.count; ++s) bad_.insert(s);
    }
  }

  // While a part of the spare fails, any remapped sector may be lost and any relocation fail.
  void toggle_spare_faults() {
    if (spare_fault_ != 0) {
      rig_.spare().remove_fault(spare_fault_);
      spare_fault_ = 0;
      return;
    }
    const std::uint64_t first =
        first_faulty_on_spare_ / kSectorSize +
        random_.below((rig_.spare().geometry().size.value() - first_faulty_on_spare_) / kSectorSize - 64);
    FaultRule rule;
    rule.range = {ByteOffset(first * kSectorSize), ByteOffset((first + random_.between(1, 40)) * kSectorSize)};
    rule.on = static_cast<FaultRule::On>(random_.below(3));
    rule.lasts = random_.one_in(2) ? FaultRule::Lasts::always : FaultRule::Lasts::times;
    rule.times = random_.between(1, 6);
    spare_fault_ = rig_.spare().add_fault(rule);
    std::fill(was_bad_.begin(), was_bad_.end(), true);
  }

  void operator_verb() {
    const std::uint64_t blocks = rig_.geometry().blocks_in(ByteCount(size_));
    std::uint64_t block = random_.below(blocks);
    if (!rig_.map.rows.empty() && !random_.one_in(5)) {
      auto row = rig_.map.rows.lower_bound(block);
      block = row == rig_.map.rows.end() ? rig_.map.rows.begin()->first : row->first;
    }
    Result<Outcome> result;
    switch (random_.below(16)) {
      case 0: result = rig_.volume->add(BlockIndex(block)); break;
      case 1: {
        const std::uint64_t per_block = rig_.geometry().sectors_per_block();
        for (std::uint64_t s = block * per_block; s < std::min((block + 1) * per_block, size_ / kSectorSize); ++s) {
          was_bad_[s] = true;
        }
        result = rig_.volume->mark_lost(BlockIndex(block));
        break;
      }
      case 2:
      case 3:
      case 4: result = rig_.volume->retest(BlockIndex(block)); break;
      case 5:
      case 6: result = rig_.volume->clear_lost(BlockIndex(block)); break;
      default: result = rig_.volume->remove(BlockIndex(block)); break;
    }
    if (result) return;
    const Errc code = result.error().code;
    ASSERT_TRUE(code == Errc::lost || code == Errc::media || code == Errc::no_space) << describe(result.error());
  }

  const std::uint64_t first_faulty_on_spare_;
  VolumeRig rig_;
  Random random_;
  std::uint64_t size_;
  std::vector<std::byte> bytes_;  // what was acknowledged last
  std::vector<bool> uncertain_;   // by sector: a write failed here, old or new bytes are right
  std::vector<bool> was_bad_;     // by sector: has ever had a reason to be lost
  std::set<std::uint64_t> bad_;   // sectors with a fault on the primary now
  std::vector<PrimaryFault> faults_;
  FaultId spare_fault_ = 0;
  std::uint64_t version_ = 0;
};

class VolumeModel : public ::testing::TestWithParam<RigOptions> {
 protected:
  static void run(std::uint64_t operations, std::unique_ptr<MapBackend> backend) {
    const std::uint64_t seed = test_seed();
    SCOPED_TRACE(seed_message(seed));
    Model model(GetParam(), seed, std::move(backend));
    for (std::uint64_t i = 0; i < operations; ++i) {
      SCOPED_TRACE(i);
      model.step();
      if (HasFatalFailure()) return;
      if (i % 50000 == 49999 || i == operations - 1) {
        model.check_everything();
        if (HasFatalFailure()) return;
      }
    }
    const MemoryMap& map = model.rig().map;
    std::printf("operations=%llu entries=%zu retired=%zu\n", static_cast<unsigned long long>(operations),
                map.rows.size(), map.retired.size());
    EXPECT_EQ(model.rig().volume->status().remapped_blocks,
              static_cast<std::uint64_t>(std::count_if(map.rows.begin(), map.rows.end(), [](const auto& row) {
                return row.second.state == EntryState::remapped;
              })));
  }
};

// A million operations over the four volumes; REMAPFS_TEST_SOAK=1 makes it ten times as many.
TEST_P(VolumeModel, AgreesWithPlainBytes) { run(soaking() ? 2'500'000 : 250'000, nullptr); }

class VolumeModelOnSqlite : public VolumeModel {};

// A million over three volumes; ten times as many in the soak run.
TEST_P(VolumeModelOnSqlite, AgreesWithPlainBytes) {
  run(soaking() ? 3'500'000 : 350'000, std::make_unique<SqliteBackend>());
}

constexpr RigOptions kOddEnd{.disk_bytes = (2U << 20U) + 512, .block_size = 4096, .slots = 400};
constexpr RigOptions kSmallBlocks{.disk_bytes = 1U << 20U, .block_size = 512, .slots = 2000, .punches_cheaply = true};
constexpr RigOptions kTwoSpares{.disk_bytes = (4U << 20U) + 1536, .block_size = 32768, .slots = 120, .spares = 2};
constexpr RigOptions k4Kn{.disk_bytes = (2U << 20U), .block_size = 8192, .slots = 200, .logical_block = 4096};

INSTANTIATE_TEST_SUITE_P(Volumes, VolumeModel, ::testing::Values(kOddEnd, kSmallBlocks, kTwoSpares, k4Kn));
INSTANTIATE_TEST_SUITE_P(Volumes, VolumeModelOnSqlite, ::testing::Values(kOddEnd, kSmallBlocks, k4Kn));

}  // namespace
}  // namespace remapfs::testing
