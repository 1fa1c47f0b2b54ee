// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "support/volume_rig.hpp"

// Every kind of fault at every kind of place, met by every kind of request: the bytes are right or the answer is EIO,
// exactly as the design's section on one I/O says, and so again after a remount.

namespace remapfs::testing {
namespace {

enum class Place { one_sector, block, run, straddling, first_block, last_block };
enum class Shape { aligned, one_sector, one_mebibyte, odd };

constexpr std::uint64_t kDiskBytes = (4U << 20U) + 3 * kSectorSize;  // the last block is partial unless it is a sector

struct Case {
  std::uint64_t block_size;
  FaultRule::On on;
  FaultRule::Lasts lasts;
  Place place;
  Shape shape;
};

std::string name_of(const Case& c) {
  static constexpr const char* kOn[] = {"read", "write", "both"};
  static constexpr const char* kLasts[] = {"sticky", "transient", "until written"};
  static constexpr const char* kPlace[] = {"one sector", "block", "run", "straddling", "first block", "last block"};
  static constexpr const char* kShape[] = {"aligned", "512 bytes", "1 MiB", "odd"};
  return "block size " + std::to_string(c.block_size) + ", " + kOn[static_cast<int>(c.on)] + ", " +
         kLasts[static_cast<int>(c.lasts)] + ", " + kPlace[static_cast<int>(c.place)] + ", request " +
         kShape[static_cast<int>(c.shape)];
}

ByteRange bytes(std::uint64_t begin, std::uint64_t end) { return {ByteOffset(begin), ByteOffset(end)}; }

ByteRange fault_range(const Case& c) {
  const std::uint64_t bs = c.block_size;
  const std::uint64_t middle = 1U << 20U;
  const std::uint64_t last = kDiskBytes / bs * bs == kDiskBytes ? kDiskBytes - bs : kDiskBytes / bs * bs;
  switch (c.place) {
    case Place::one_sector: return bytes(middle + bs - kSectorSize, middle + bs);
    case Place::block: return bytes(middle, middle + bs);
    case Place::run: return bytes(middle, middle + 3 * bs);
    case Place::straddling: return bytes(middle + bs - kSectorSize, middle + bs + kSectorSize);
    case Place::first_block: return bytes(0, bs);
    case Place::last_block: return bytes(last, kDiskBytes);
  }
  return {};
}

ByteRange request_range(const Case& c, ByteRange fault) {
  const std::uint64_t begin = fault.begin.value();
  const std::uint64_t end = fault.end.value();
  const std::uint64_t bs = c.block_size;
  ByteRange range;
  switch (c.shape) {
    case Shape::aligned: range = bytes(round_down(begin, bs), round_up(end, bs)); break;
    case Shape::one_sector: range = bytes(begin, begin + kSectorSize); break;
    case Shape::one_mebibyte:
      range = bytes(round_down(begin, 1U << 20U), round_down(begin, 1U << 20U) + (1U << 20U));
      break;
    case Shape::odd: range = bytes(begin < 100 ? 0 : begin - 100, end + 77); break;
  }
  range.end = std::min(range.end, ByteOffset(kDiskBytes));
  return range;
}

class CaseRun {
 public:
  explicit CaseRun(const Case& c)
      : case_(c),
        fault_(fault_range(c)),
        request_(request_range(c, fault_)),
        rig_({.disk_bytes = kDiskBytes, .block_size = c.block_size, .slots = 4096}),
        bytes_(pattern(0, kDiskBytes, 0)) {
    rig_.primary->poke(ByteOffset(0), bytes_);
    FaultRule rule;
    rule.range = fault_;
    rule.on = c.on;
    rule.lasts = c.lasts;
    rig_.primary->add_fault(rule);
  }

  void play() {
    read_request();
    check_entries_after_read();
    write_request();
    check_every_sector("after the write");
    rig_.remount();
    check_every_sector("after the remount");
    // A second life of the same map must still agree when the medium has recovered: what was lost stays lost.
    rig_.primary->clear_faults();
    rig_.remount();
    check_every_sector("with the faults gone");
  }

 private:
  [[nodiscard]] bool reads_fail() const {
    return case_.on != FaultRule::On::write && case_.lasts != FaultRule::Lasts::times;
  }
  [[nodiscard]] bool in_fault(std::uint64_t sector) const {
    return sector * kSectorSize >= fault_.begin.value() && sector * kSectorSize < fault_.end.value();
  }
  // The sectors of the request that cannot be read.
  [[nodiscard]] std::vector<std::uint64_t> unreadable_in_request() const {
    std::vector<std::uint64_t> sectors;
    for (std::uint64_t s = request_.begin.value() / kSectorSize; s * kSectorSize < request_.end.value(); ++s) {
      if (reads_fail() && in_fault(s)) sectors.push_back(s);
    }
    return sectors;
  }
  [[nodiscard]] SectorMask valid_mask(std::uint64_t block) const {
    const auto row = rig_.row(block);
    return row ? row->valid_mask : rig_.geometry().full_mask();
  }
  [[nodiscard]] bool valid(std::uint64_t sector) const {
    const std::uint64_t per_block = rig_.geometry().sectors_per_block();
    return (valid_mask(sector / per_block) >> (sector % per_block) & 1U) != 0;
  }

  void read_request() {
    const auto unreadable = unreadable_in_request();
    const auto got = rig_.read(request_.begin.value(), request_.size().value());
    ASSERT_EQ(got.has_value(), unreadable.empty());
    if (!got) {
      EXPECT_EQ(got.error().code, Errc::lost);
      return;
    }
    EXPECT_TRUE(
        std::equal(got->begin(), got->end(), bytes_.begin() + static_cast<std::ptrdiff_t>(request_.begin.value())));
  }

  void check_entries_after_read() {
    const auto unreadable = unreadable_in_request();
    for (std::uint64_t s = 0; s < kDiskBytes / kSectorSize; ++s) {
      const bool should_be_lost = std::find(unreadable.begin(), unreadable.end(), s) != unreadable.end();
      ASSERT_EQ(valid(s), !should_be_lost) << "sector " << s;
    }
    // One access that failed and then worked: the block is weak, and moved, if it is known which one it was.
    const bool one_block = rig_.geometry().blocks_touching(request_).size() == 1;
    const bool met_read_fault = case_.on != FaultRule::On::write;
    if (case_.lasts == FaultRule::Lasts::times && met_read_fault && one_block) {
      const auto row = rig_.row(rig_.geometry().block_of(request_.begin).value());
      ASSERT_TRUE(row);
      EXPECT_EQ(row->state, EntryState::remapped);
      EXPECT_EQ(row->cause, Cause::weak_read);
    }
  }

  void write_request() {
    const auto unreadable = unreadable_in_request();
    const auto data = pattern(request_.begin.value(), request_.size().value(), 1);
    bool part_of_lost_sector = false;
    for (const std::uint64_t s : unreadable) {
      part_of_lost_sector |= s * kSectorSize < request_.begin.value() || (s + 1) * kSectorSize > request_.end.value();
    }
    const auto written = rig_.write(request_.begin.value(), data);
    ASSERT_EQ(written.has_value(), !part_of_lost_sector) << (written ? "" : describe(written.error()));
    if (!written) {
      EXPECT_EQ(written.error().code, Errc::lost);
      uncertain_ = true;
      return;
    }
    std::copy(data.begin(), data.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(request_.begin.value()));
  }

  // Reads every sector by itself: the right bytes, or lost if it is in the fault and was not written since.
  void check_every_sector(const char* when) {
    for (std::uint64_t s = 0; s < kDiskBytes / kSectorSize; ++s) {
      const bool in_request = (s + 1) * kSectorSize > request_.begin.value() && s * kSectorSize < request_.end.value();
      const bool unreadable = reads_fail() && in_fault(s) && (!in_request || uncertain_);
      const auto got = rig_.read(s * kSectorSize, kSectorSize);
      if (uncertain_ && in_request) {
        // The write failed: old or new bytes, or still lost.
        ASSERT_TRUE(got || in_fault(s)) << "sector " << s << ' ' << when;
        continue;
      }
      ASSERT_EQ(got.has_value(), !unreadable) << "sector " << s << ' ' << when;
      if (!got) continue;
      ASSERT_TRUE(std::equal(got->begin(), got->end(), bytes_.begin() + static_cast<std::ptrdiff_t>(s * kSectorSize)))
          << "sector " << s << ' ' << when;
    }
  }

  Case case_;
  ByteRange fault_;
  ByteRange request_;
  VolumeRig rig_;
  std::vector<std::byte> bytes_;
  bool uncertain_ = false;
};

class FaultMatrix : public ::testing::TestWithParam<std::uint64_t> {};

TEST_P(FaultMatrix, BytesAreRightOrLost) {
  int cases = 0;
  for (const auto on : {FaultRule::On::read, FaultRule::On::write, FaultRule::On::both}) {
    for (const auto lasts : {FaultRule::Lasts::always, FaultRule::Lasts::times, FaultRule::Lasts::until_written}) {
      for (const auto place :
           {Place::one_sector, Place::block, Place::run, Place::straddling, Place::first_block, Place::last_block}) {
        for (const auto shape : {Shape::aligned, Shape::one_sector, Shape::one_mebibyte, Shape::odd}) {
          const Case c{GetParam(), on, lasts, place, shape};
          SCOPED_TRACE(name_of(c));
          CaseRun(c).play();
          if (HasFatalFailure()) return;
          ++cases;
        }
      }
    }
  }
  EXPECT_EQ(cases, 3 * 3 * 6 * 4);
}

INSTANTIATE_TEST_SUITE_P(BlockSizes, FaultMatrix, ::testing::Values(512, 4096, 32768));

}  // namespace
}  // namespace remapfs::testing
