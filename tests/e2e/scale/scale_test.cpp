// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>

#include "e2e/kill/mounted_volume.hpp"
#include "e2e/kill/scratch.hpp"
#include "remapfs/aligned_buffer.hpp"
#include "support/large_map.hpp"
#include "support/process_status.hpp"
#include "support/soak.hpp"

// Ten million entries are mounted with 15 s of processor time and take less than 1 GiB of memory; every row, every
// entry of the index and every tag is checked meanwhile, after a crash the second copy of every tag too. How long that
// takes is up to who else is there: bench/run measures it. REMAPFS_TEST_SOAK=1 runs them; an ordinary run has a
// million, whose share is a tenth, and what any mount takes.

namespace remapfs::testing {
namespace {

using Seconds = std::chrono::duration<double>;

constexpr std::uint64_t kBlockSize = 512;
constexpr std::uint64_t kStride = 3;  // only every third block has an entry: nothing merges into runs
constexpr std::uint64_t kKiBPerMiB = 1024;

struct Scale {
  std::uint64_t entries;
  Seconds processor_time;
  std::uint64_t resident_mib;
};

Scale scale() {
  if (soaking()) return {10'000'000, Seconds(15), 1024};
  return {1'000'000, Seconds(2), 256};
}

std::uint64_t status_kib(pid_t pid, const std::string& key) {
  const std::string value = process_status(pid, key);
  if (value.empty()) throw std::runtime_error("no " + key + " in the status of the daemon");
  return std::stoull(value);
}

// Of all its threads, since it was started.
Seconds processor_time(pid_t pid) {
  std::ifstream stat(fmt::format("/proc/{}/stat", pid));
  std::string text;
  std::getline(stat, text);
  // Behind the name, which may have anything in it, utime and stime are the fields 12 and 13.
  std::istringstream fields(text.substr(text.rfind(')') + 2));
  std::string skipped;
  for (int i = 0; i < 11; ++i) fields >> skipped;
  double user = 0;
  double system = 0;
  if (!(fields >> user >> system)) throw std::runtime_error("no processor time of the daemon");
  return Seconds((user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK)));
}

class LargeMap : public ::testing::Test {
 protected:
  // Makes the volume and its entries.
  void create(const std::function<RemapRow(std::uint64_t)>& entry) {
    {
      const OpenFile primary(primary_, O_RDWR | O_CREAT);
      const auto size = static_cast<off_t>(scale_.entries * kStride * kBlockSize);
      ASSERT_EQ(::ftruncate(primary.fd(), size), 0);
    }
    // A slot takes its bytes and two tags.
    const std::uint64_t spare_size = scale_.entries * (kBlockSize + 100) + (std::uint64_t{16} << 20U);
    volume_.create(primary_, spare_,
                   {"--block-size", std::to_string(kBlockSize), "--spare-size", std::to_string(spare_size)});
    const auto start = std::chrono::steady_clock::now();
    const auto added = add_entries(volume_.map(), scale_.entries, entry);
    ASSERT_TRUE(added) << describe(added.error());
    std::cout << fmt::format("{} entries made in {:.1f} s\n", scale_.entries,
                             Seconds(std::chrono::steady_clock::now() - start).count());
  }

  // Mounts, and holds what that took against the limits.
  void mount(const char* after) {
    const Seconds took = volume_.mount();
    const std::uint64_t peak = status_kib(volume_.worker(), "VmHWM") / kKiBPerMiB;
    const Seconds processor = processor_time(volume_.worker());
    std::cout << fmt::format(
        "mounted after {} in {:.2f} s, of processors {:.2f} s; resident {} MiB, at most {} MiB, locked {} MiB\n", after,
        took.count(), processor.count(), status_kib(volume_.worker(), "VmRSS") / kKiBPerMiB, peak,
        status_kib(volume_.worker(), "VmLck") / kKiBPerMiB);
    EXPECT_GT(processor.count(), 0);
    EXPECT_LT(processor.count(), scale_.processor_time.count());
    EXPECT_LT(peak, scale_.resident_mib);
  }

  void crash_and_mount() {
    volume_.kill();
    volume_.wait_until_dead();
    volume_.unmount_dead();
    mount("a crash");
    volume_.unmount();
  }

  // The first sector of a block; an errno when it cannot be read.
  [[nodiscard]] tl::expected<std::byte, int> read_block(std::uint64_t block) const {
    const OpenFile disk(volume_.disk(), O_RDONLY | O_DIRECT);
    auto buffer = AlignedBuffer::allocate(kBlockSize);
    const ssize_t got = ::pread(disk.fd(), buffer->data(), kBlockSize, static_cast<off_t>(block * kBlockSize));
    if (got != static_cast<ssize_t>(kBlockSize)) return tl::unexpected(got < 0 ? errno : -1);
    return buffer->data()[0];
  }

  void write_byte(const std::string& path, std::uint64_t offset, std::byte value) const {
    const OpenFile file(path, O_WRONLY);
    ASSERT_EQ(::pwrite(file.fd(), &value, 1, static_cast<off_t>(offset)), 1);
  }

  const Scale scale_ = scale();
  // The first, the last, and some between.
  const std::array<std::uint64_t, 4> samples_{0, scale_.entries / 3, scale_.entries / 2 + 1, scale_.entries - 1};
  ScratchDirectory directory_;
  const std::string primary_ = directory_ / "primary.img";
  const std::string spare_ = directory_ / "spare.img";
  MountedVolume volume_{directory_};
};

TEST_F(LargeMap, RemappedBlocksAreMountedWithinTheLimitsOfTimeAndMemory) {
  // Slots in another order than blocks, as years of dying sectors leave them.
  const auto slot_of = [&](std::uint64_t i) { return i * 7919 % scale_.entries; };
  ASSERT_NO_FATAL_FAILURE(create([&](std::uint64_t i) {
    RemapRow row;
    row.block = BlockIndex(i * kStride);
    row.state = EntryState::remapped;
    row.where = {1, SlotIndex(slot_of(i))};
    row.valid_mask = 1;
    row.written_mask = 1;
    row.cause = Cause::write_error;
    row.error_count = 1;
    return row;
  }));
  const std::uint64_t first_slot = std::stoull(volume_.query("SELECT first_slot FROM devices WHERE id = 1"));
  for (const std::uint64_t i : samples_) {
    write_byte(primary_, i * kStride * kBlockSize, std::byte{0xEE});
    write_byte(spare_, first_slot + slot_of(i) * kBlockSize, static_cast<std::byte>(i % 101 + 1));
  }

  mount("an orderly close");
  EXPECT_EQ(volume_.status().at("remapped_blocks"), scale_.entries);
  for (const std::uint64_t i : samples_) {
    EXPECT_EQ(read_block(i * kStride), static_cast<std::byte>(i % 101 + 1)) << "entry " << i;
    EXPECT_EQ(read_block(i * kStride + 1), std::byte{0}) << "next to entry " << i;
  }
  crash_and_mount();
}

TEST_F(LargeMap, LostBlocksAreMountedWithinTheLimitsOfTimeAndMemory) {
  ASSERT_NO_FATAL_FAILURE(create([](std::uint64_t i) {
    RemapRow row;
    row.block = BlockIndex(i * kStride);
    row.state = EntryState::lost;
    row.cause = Cause::imported;
    row.error_count = 1;
    return row;
  }));
  mount("an orderly close");
  EXPECT_EQ(volume_.status().at("lost_sectors"), scale_.entries);
  for (const std::uint64_t i : samples_) {
    EXPECT_EQ(read_block(i * kStride), (tl::expected<std::byte, int>(tl::unexpect, EIO))) << "entry " << i;
    EXPECT_EQ(read_block(i * kStride + 1), std::byte{0}) << "next to entry " << i;
  }
  crash_and_mount();
}

}  // namespace
}  // namespace remapfs::testing
