// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <iostream>
#include <string>

#include "e2e/survival/shared_counts.hpp"
#include "e2e/survival/survival_rig.hpp"

// A request must not wait for memory, which may only come free once the request is done: the process that serves asks
// for none. libfuse asks for that of its own description of a request, which is locked and in use again at once.

namespace remapfs::testing {
namespace {

class Requests : public ForegroundRig, public ::testing::WithParamInterface<std::string> {
 protected:
  static constexpr std::uint64_t kBlocks = 256;
  static constexpr std::uint64_t kRemapped = 128;  // the first of them

  // Reads and writes of one block each, half of them on remapped ones.
  void ask(std::uint64_t count) {
    alignas(kLength) static std::array<char, kLength> bytes;
    const OpenFile disk(volume_.disk(), O_RDWR | O_DIRECT);
    for (std::uint64_t i = 0; i < count; ++i) {
      const auto place = static_cast<off_t>(random_.below(kBlocks) * kLength);
      const ssize_t done = i % 2 == 0 ? ::pwrite(disk.fd(), bytes.data(), kLength, place)
                                      : ::pread(disk.fd(), bytes.data(), kLength, place);
      ASSERT_EQ(done, static_cast<ssize_t>(kLength));
    }
  }

  SharedCounts counts_{directory_ / "counts"};
  Random random_{test_seed()};
};

TEST_P(Requests, TakeNoMemoryOfOurs) {
  constexpr std::uint64_t kCount = 10'000;
  // Opening and closing the file, and whatever else goes on in a second or two.
  constexpr std::uint64_t kBeside = kCount / 50;
  mount(SharedCounts::environment(directory_ / "counts"), {"-o", "engine=" + GetParam()});
  ASSERT_EQ(volume_.status().at("engine"), GetParam());
  ASSERT_EQ(volume_.ask("add", {"0-" + std::to_string(kRemapped - 1)}).code, 0);
  ASSERT_EQ(volume_.status().at("remapped_blocks"), kRemapped);
  const pid_t worker = volume_.worker();
  ask(1000);  // what is made once is made
  const std::uint64_t before = counts_.of(worker);
  ask(kCount);
  const std::uint64_t taken = counts_.of(worker) - before;
  std::cout << kCount << " requests, " << taken << " times memory\n";
  EXPECT_LE(taken, kCount + kBeside);
  EXPECT_GE(taken, kCount) << "libfuse's own are not seen: nothing is counted";
}

INSTANTIATE_TEST_SUITE_P(Engines, Requests, ::testing::Values("io_uring", "blocking"),
                         [](const auto& suite) { return suite.param; });

}  // namespace
}  // namespace remapfs::testing
