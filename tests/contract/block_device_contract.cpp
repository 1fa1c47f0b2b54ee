// SPDX-License-Identifier: Apache-2.0
#include "contract/block_device_contract.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "core/unique_fd.hpp"
#include "support/random.hpp"

namespace remapfs::testing {
namespace {

using ::testing::HasSubstr;

class OpenedSubject final : public DeviceSubject {
 public:
  explicit OpenedSubject(const OpenableCase& openable) : openable_(openable.make()) {
    auto opened = open_device(openable_->path(), openable_->options());
    if (!opened) throw std::runtime_error(describe(opened.error()));
    device_ = *std::move(opened);
  }
  [[nodiscard]] BlockDevice& device() override { return *device_; }

 private:
  std::unique_ptr<Openable> openable_;
  std::unique_ptr<BlockDevice> device_;
};

AlignedBuffer make_buffer(std::size_t size) {
  auto buffer = AlignedBuffer::allocate(size);
  if (!buffer) throw std::bad_alloc();
  return *std::move(buffer);
}

std::string text_of(const Result<void>& result) { return result ? "success" : describe(result.error()); }

// Compares without printing a megabyte.
void expect_same(std::span<const std::byte> got, std::span<const std::byte> wanted, std::uint64_t offset) {
  ASSERT_EQ(got.size(), wanted.size());
  const auto [g, w] = std::mismatch(got.begin(), got.end(), wanted.begin());
  ASSERT_TRUE(g == got.end()) << "first difference at byte " << offset + static_cast<std::uint64_t>(g - got.begin())
                              << " of the device: " << std::to_integer<int>(*g) << " instead of "
                              << std::to_integer<int>(*w);
}

void expect_device_holds(BlockDevice& device, std::span<const std::byte> wanted) {
  constexpr std::uint64_t kStep = 1U << 20U;
  AlignedBuffer buffer = make_buffer(kStep);
  for (std::uint64_t at = 0; at < wanted.size(); at += kStep) {
    const std::size_t n = std::min<std::uint64_t>(kStep, wanted.size() - at);
    const auto read = device.read_exact(ByteOffset(at), buffer.first(n));
    ASSERT_TRUE(read) << text_of(read) << " at " << at;
    ASSERT_NO_FATAL_FAILURE(expect_same(buffer.first(n), wanted.subspan(at, n), at));
  }
}

// A range on the grid of at most max_blocks blocks; the end of the device is as likely an end as any block.
ByteRange random_range(Random& random, std::uint64_t size, std::uint64_t grid, std::uint64_t max_blocks) {
  const std::uint64_t blocks = (size + grid - 1) / grid;
  const std::uint64_t count = random.between(1, max_blocks + 1);
  const std::uint64_t first = random.one_in(8) ? blocks - std::min(count, blocks) : random.below(blocks);
  return {ByteOffset(first * grid), ByteOffset(std::min(size, (first + count) * grid))};
}

}  // namespace

DeviceCase as_device_case(const OpenableCase& openable) {
  return {openable.name, [openable] { return std::make_unique<OpenedSubject>(openable); }};
}

OpenableFile::OpenableFile(std::string path, DeviceOptions options, std::shared_ptr<void> keep)
    : keep_(std::move(keep)), path_(std::move(path)), options_(std::move(options)) {
  std::ofstream{path_};
  std::filesystem::resize_file(path_, kOpenableSize);
}

void OpenableFile::shrink(std::uint64_t size) { std::filesystem::resize_file(path_, size); }

OpenableLoop::OpenableLoop(const LoopOptions& options) {
  std::ofstream{directory_ / "backing"};
  std::filesystem::resize_file(directory_ / "backing", kOpenableSize);
  loop_ = std::make_unique<LoopDevice>(directory_ / "backing", options);
}

void OpenableLoop::shrink(std::uint64_t size) {
  std::filesystem::resize_file(directory_ / "backing", size);
  loop_->refresh_size();
}

DeviceOptions OpenDeviceContract::options(bool read_only) {
  DeviceOptions options = openable_->options();
  options.read_only = read_only;
  options.lock_wait = std::chrono::milliseconds(0);
  return options;
}

std::unique_ptr<BlockDevice> OpenDeviceContract::open() {
  DeviceOptions patient = options();
  patient.lock_wait = std::chrono::milliseconds(2000);  // udev may be looking at a device that has just appeared
  auto device = open_device(openable_->path(), patient);
  if (!device) throw std::runtime_error(describe(device.error()));
  return *std::move(device);
}

// --- What every device promises ---

TEST_P(BlockDeviceContract, GeometryIsUsable) {
  const DeviceGeometry& geometry = device().geometry();
  EXPECT_GE(geometry.size.value(), 3U << 20U);
  EXPECT_TRUE(is_aligned(geometry.size.value(), kSectorSize));
  EXPECT_TRUE(std::has_single_bit(geometry.logical_block));
  EXPECT_GE(geometry.logical_block, kSectorSize);
  EXPECT_GE(geometry.physical_block, geometry.logical_block);
  EXPECT_TRUE(std::has_single_bit(geometry.memory_alignment));
  EXPECT_LE(geometry.memory_alignment, AlignedBuffer::kAlignment);
  EXPECT_FALSE(device().name().empty());
}

TEST_P(BlockDeviceContract, RandomWritesZeroesAndPunchesReadBackExactly) {
  const std::uint64_t seed = test_seed();
  SCOPED_TRACE(seed_message(seed));
  Random random(seed);
  std::vector<std::byte> model(size());
  AlignedBuffer buffer = make_buffer(kMaxRequestSize);
  for (int step = 0; step < 400; ++step) {
    const std::uint64_t largest = random.one_in(10) ? kMaxRequestSize / grid() : 16;
    const ByteRange range = random_range(random, size(), grid(), largest);
    const std::uint64_t at = range.begin.value();
    const std::size_t n = range.size().value();
    Result<void> result;
    switch (random.below(6)) {
      case 0:
      case 1: {
        random.fill(buffer.first(n));
        std::copy_n(buffer.data(), n, model.begin() + static_cast<std::ptrdiff_t>(at));
        result = device().write_all(range.begin, buffer.first(n));
        break;
      }
      case 2: {
        result = device().read_exact(range.begin, buffer.first(n));
        if (result) {
          ASSERT_NO_FATAL_FAILURE(expect_same(buffer.first(n), std::span(model).subspan(at, n), at));
        }
        break;
      }
      case 3: {
        result = device().zero_range(range);
        std::fill_n(model.begin() + static_cast<std::ptrdiff_t>(at), n, std::byte{0});
        break;
      }
      case 4: {
        result = device().punch_hole(range);
        if (!device().geometry().punches_cheaply) {
          ASSERT_FALSE(result);
          ASSERT_EQ(result.error().code, Errc::unsupported);
          result = {};
        } else {
          std::fill_n(model.begin() + static_cast<std::ptrdiff_t>(at), n, std::byte{0});
        }
        break;
      }
      default: {
        device().drop_cache(range);
        result = device().sync();
      }
    }
    ASSERT_TRUE(result) << text_of(result) << " in step " << step << " at " << at << " for " << n;
  }
  expect_device_holds(device(), model);
}

TEST_P(BlockDeviceContract, TheLastLogicalBlockIsReadAndWrittenEvenWhenThereIsOnlyPartOfIt) {
  const std::uint64_t last = round_down(size() - 1, grid());
  const std::uint64_t before = last - grid();
  AlignedBuffer buffer = make_buffer(size() - before);
  Random(1).fill(buffer.span());
  ASSERT_TRUE(device().write_all(ByteOffset(before), buffer.span()));
  const std::vector<std::byte> both(buffer.span().begin(), buffer.span().end());

  AlignedBuffer part = make_buffer(size() - last);
  ASSERT_TRUE(device().read_exact(ByteOffset(last), part.span()));
  ASSERT_NO_FATAL_FAILURE(expect_same(part.span(), std::span(both).subspan(grid()), last));

  Random(2).fill(part.span());
  ASSERT_TRUE(device().write_all(ByteOffset(last), part.span()));
  ASSERT_TRUE(device().read_exact(ByteOffset(before), buffer.span()));
  ASSERT_NO_FATAL_FAILURE(expect_same(buffer.first(grid()), std::span(both).first(grid()), before));
  ASSERT_NO_FATAL_FAILURE(expect_same(buffer.subspan(grid(), part.size()), part.span(), last));

  ASSERT_TRUE(device().zero_range({ByteOffset(last), ByteOffset(size())}));
  ASSERT_TRUE(device().read_exact(ByteOffset(last), part.span()));
  ASSERT_NO_FATAL_FAILURE(expect_same(part.span(), std::vector<std::byte>(part.size()), last));
}

TEST_P(BlockDeviceContract, HolesReadAsZerosAndDataIsNeverInAHole) {
  const std::uint64_t mib = 1U << 20U;
  AlignedBuffer buffer = make_buffer(grid());
  std::fill_n(buffer.data(), buffer.size(), std::byte{0x5A});
  for (const std::uint64_t at : {std::uint64_t{0}, mib, 2 * mib + grid()}) {
    ASSERT_TRUE(device().write_all(ByteOffset(at), buffer.span()));
  }
  ASSERT_TRUE(device().sync());

  AlignedBuffer hole = make_buffer(mib);
  ByteOffset at(0);
  int data_extents = 0;
  while (at.value() < size()) {
    const auto data = device().seek_data(at);
    if (!data) {
      ASSERT_EQ(data.error().code, Errc::not_found);
    }
    const std::uint64_t hole_end = data ? data->value() : size();
    ASSERT_GE(hole_end, at.value());
    for (std::uint64_t i = round_up(at.value(), grid()); i < round_down(hole_end, grid()); i += mib) {
      const std::size_t n = std::min<std::uint64_t>(mib, round_down(hole_end, grid()) - i);
      ASSERT_TRUE(device().read_exact(ByteOffset(i), hole.first(n)));
      ASSERT_NO_FATAL_FAILURE(expect_same(hole.first(n), std::vector<std::byte>(n), i));
    }
    if (!data) break;
    ++data_extents;
    const auto next = device().seek_hole(*data);
    ASSERT_TRUE(next);
    ASSERT_GT(*next, *data);
    ASSERT_LE(next->value(), size());
    at = *next;
  }
  EXPECT_GE(data_extents, 1);
  const auto past = device().seek_data(ByteOffset(size()));
  ASSERT_FALSE(past);
  EXPECT_EQ(past.error().code, Errc::not_found);
  EXPECT_EQ(device().seek_hole(ByteOffset(size())).value(), ByteOffset(size()));
  EXPECT_EQ(device().seek_hole(ByteOffset(size() + mib)).value(), ByteOffset(size()));
}

TEST_P(BlockDeviceContract, EightThreadsWritingNextToEachOtherLoseNothing) {
  constexpr std::uint64_t kThreads = 8;
  const std::uint64_t seed = test_seed();
  SCOPED_TRACE(seed_message(seed));
  const std::uint64_t blocks = size() / grid();
  // Block i belongs to thread i % kThreads: neighbours share pages and cache lines as much as they can.
  std::vector<std::byte> model(size());
  std::atomic<int> failures{0};
  std::vector<std::thread> threads;
  for (std::uint64_t me = 0; me < kThreads; ++me) {
    threads.emplace_back([&, me] {
      Random random(seed + me);
      AlignedBuffer buffer = make_buffer(grid());
      AlignedBuffer check = make_buffer(grid());
      for (int round = 0; round < 100; ++round) {
        const std::uint64_t block = random.below(blocks / kThreads) * kThreads + me;
        const ByteOffset at(block * grid());
        random.fill(buffer.span());
        if (!device().write_all(at, buffer.span()) || !device().read_exact(at, check.span())) ++failures;
        if (std::memcmp(buffer.data(), check.data(), grid()) != 0) ++failures;
        if (round % 32 == 0 && !device().sync()) ++failures;
        std::copy_n(buffer.data(), grid(), model.begin() + static_cast<std::ptrdiff_t>(at.value()));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failures, 0);
  expect_device_holds(device(), model);
}

TEST_P(BlockDeviceContract, ContentsStayOverDropCacheAndReopen) {
  std::vector<std::byte> model(size());
  AlignedBuffer buffer = make_buffer(64 * grid());
  Random(3).fill(buffer.span());
  std::copy_n(buffer.data(), buffer.size(), model.begin() + static_cast<std::ptrdiff_t>(8 * grid()));
  ASSERT_TRUE(device().write_all(ByteOffset(8 * grid()), buffer.span()));
  device().drop_cache({ByteOffset(0), ByteOffset(size())});
  ASSERT_NO_FATAL_FAILURE(expect_device_holds(device(), model));
  ASSERT_TRUE(device().sync());
  const auto reopened = device().reopen();
  ASSERT_TRUE(reopened) << text_of(reopened);
  ASSERT_NO_FATAL_FAILURE(expect_device_holds(device(), model));
  ASSERT_TRUE(device().write_all(ByteOffset(0), buffer.first(grid())));
  ASSERT_TRUE(device().sync());
}

// --- What open_device() promises ---

TEST_P(OpenDeviceContract, ADeviceThatShrankAnswersDeviceGoneAndIsNotMadeLongerAgain) {
  const auto device = open();
  const std::uint64_t size = device->geometry().size.value();
  AlignedBuffer buffer = make_buffer(size);
  std::fill_n(buffer.data(), size, std::byte{0x77});
  ASSERT_TRUE(device->write_all(ByteOffset(0), buffer.span()));
  const std::uint64_t half = round_down(size / 2, 65536);
  openable().shrink(half);

  // Whole ranges beyond, across the new end, and the tail.
  for (const ByteRange range : {ByteRange{ByteOffset(half), ByteOffset(half + 65536)},
                                ByteRange{ByteOffset(half - 65536), ByteOffset(half + 65536)},
                                ByteRange{ByteOffset(size - 65536 - size % 4096), ByteOffset(size)}}) {
    const std::size_t n = range.size().value();
    const auto read = device->read_exact(range.begin, buffer.first(n));
    ASSERT_FALSE(read) << range.begin.value();
    EXPECT_EQ(read.error().code, Errc::device_gone) << describe(read.error());
    const auto written = device->write_all(range.begin, buffer.first(n));
    ASSERT_FALSE(written) << range.begin.value();
    EXPECT_EQ(written.error().code, Errc::device_gone) << describe(written.error());
  }
  EXPECT_EQ(device->zero_range({ByteOffset(half), ByteOffset(size)}).error().code, Errc::device_gone);
  if (!device->geometry().block_device) {
    EXPECT_EQ(device->seek_data(ByteOffset(half)).error().code, Errc::device_gone);
    EXPECT_EQ(device->seek_hole(ByteOffset(0)).error().code, Errc::device_gone);
    EXPECT_EQ(std::filesystem::file_size(openable().path()), half);
  }
  const auto reopened = device->reopen();
  ASSERT_FALSE(reopened);
  EXPECT_EQ(reopened.error().code, Errc::foreign) << describe(reopened.error());
  EXPECT_EQ(device->read_exact(ByteOffset(0), buffer.first(65536)).error().code, Errc::device_gone);
}

TEST_P(OpenDeviceContract, NothingEverChangesTheSizeOfAFile) {
  const auto device = open();
  const std::uint64_t size = device->geometry().size.value();
  if (device->geometry().block_device) {
    EXPECT_TRUE(is_aligned(size, device->geometry().logical_block));
    return;
  }
  EXPECT_EQ(size, round_down(kOpenableSize, kSectorSize));
  AlignedBuffer buffer = make_buffer(size);
  ASSERT_TRUE(device->write_all(ByteOffset(0), buffer.span()));
  ASSERT_TRUE(device->zero_range({ByteOffset(0), ByteOffset(size)}));
  if (device->geometry().punches_cheaply) {
    ASSERT_TRUE(device->punch_hole({ByteOffset(0), ByteOffset(size)}));
  }
  ASSERT_TRUE(device->sync());
  EXPECT_EQ(std::filesystem::file_size(openable().path()), kOpenableSize);
}

TEST_P(OpenDeviceContract, ReadOnlyReadsAndRefusesEveryChange) {
  AlignedBuffer data = make_buffer(65536);
  Random(4).fill(data.span());
  ASSERT_TRUE(open()->write_all(ByteOffset(65536), data.span()));

  const auto device = open_device(openable().path(), options(true));
  ASSERT_TRUE(device) << describe(device.error());
  const ByteRange range{ByteOffset(65536), ByteOffset(131072)};
  AlignedBuffer zeros = make_buffer(65536);
  EXPECT_EQ((*device)->write_all(range.begin, zeros.span()).error().code, Errc::read_only);
  EXPECT_EQ((*device)->zero_range(range).error().code, Errc::read_only);
  const auto punched = (*device)->punch_hole(range);
  ASSERT_FALSE(punched);
  EXPECT_THAT(punched.error().code, ::testing::AnyOf(Errc::read_only, Errc::unsupported));
  EXPECT_TRUE((*device)->sync());
  AlignedBuffer buffer = make_buffer(65536);
  ASSERT_TRUE((*device)->read_exact(range.begin, buffer.span()));
  expect_same(buffer.span(), data.span(), 65536);
}

TEST_P(OpenDeviceContract, OnlyOneAtATimeMayHoldItAndTheErrorSaysWho) {
  auto first = open();
  const auto second = open_device(openable().path(), options());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::busy);
  EXPECT_THAT(second.error().message, HasSubstr(openable().path()));
  EXPECT_THAT(second.error().message, HasSubstr("(pid " + std::to_string(::getpid()) + ")"));
  ASSERT_TRUE(first->reopen());
  EXPECT_FALSE(open_device(openable().path(), options())) << "reopen() lost the lock";
  first.reset();
  EXPECT_TRUE(open_device(openable().path(), options()));
}

TEST_P(OpenDeviceContract, WaitsForAHolderThatLetsGoInTime) {
  UniqueFd holder(::open(openable().path().c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_EQ(::flock(holder.get(), LOCK_EX), 0);
  const UniqueFd opens(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  ASSERT_GE(::inotify_add_watch(opens.get(), openable().path().c_str(), IN_OPEN), 0);

  DeviceOptions patient = options();
  patient.lock_wait = std::chrono::seconds(60);
  std::atomic<bool> done{false};
  Result<std::unique_ptr<BlockDevice>> opened;
  std::thread waiter([&] {
    opened = open_device(openable().path(), patient);
    done = true;
  });
  // It has waited when it tries again. Equal events in a row come as one, so one is taken at a time.
  int attempts = 0;
  while (attempts < 2 && !done) {
    pollfd ready{opens.get(), POLLIN, 0};
    inotify_event event{};
    if (::poll(&ready, 1, 10) == 1 && ::read(opens.get(), &event, sizeof event) == sizeof event) ++attempts;
  }
  holder.reset();
  waiter.join();
  EXPECT_EQ(attempts, 2);
  EXPECT_TRUE(opened) << describe(opened.error());
}

TEST_P(OpenDeviceContract, ReopenKeepsTheNumberOfTheDescriptor) {
  const auto device = open();
  const int handle = device->native_handle();
  ASSERT_GE(handle, 0);
  ASSERT_TRUE(device->reopen());
  EXPECT_EQ(device->native_handle(), handle);
  struct stat by_handle {};
  struct stat by_path {};
  ASSERT_EQ(::fstat(handle, &by_handle), 0);
  ASSERT_EQ(::stat(openable().path().c_str(), &by_path), 0);
  EXPECT_EQ(by_handle.st_ino, by_path.st_ino);
}

TEST_P(OpenDeviceContract, TransfersOffTheGridAreRefusedOrExactNeverRounded) {
  const auto device = open();
  AlignedBuffer data = make_buffer(8192);
  Random(5).fill(data.span());
  ASSERT_TRUE(device->write_all(ByteOffset(0), data.span()));
  AlignedBuffer patch = make_buffer(512);
  Random(6).fill(patch.span());
  const auto written = device->write_all(ByteOffset(1024), patch.span());
  if (written) {
    std::copy_n(patch.data(), 512, data.data() + 1024);
  } else {
    EXPECT_GT(device->geometry().logical_block, 512U);
    EXPECT_EQ(written.error().code, Errc::device_other) << describe(written.error());
  }
  AlignedBuffer buffer = make_buffer(8192);
  ASSERT_TRUE(device->read_exact(ByteOffset(0), buffer.span()));
  ASSERT_NO_FATAL_FAILURE(expect_same(buffer.span(), data.span(), 0));
  const auto read = device->read_exact(ByteOffset(1024), buffer.first(512));
  if (read) {
    expect_same(buffer.first(512), data.subspan(1024, 512), 1024);
  } else {
    EXPECT_EQ(read.error().code, Errc::device_other) << describe(read.error());
  }
}

TEST_P(OpenDeviceContract, OnlyADeviceThatIsNotDirectHasAWarning) {
  const auto device = open();
  EXPECT_EQ(warning_for(*device).empty(), device->geometry().direct);
}

}  // namespace remapfs::testing
