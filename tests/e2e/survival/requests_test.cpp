// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <iostream>
#include <string>
#include <tuple>
#include <utility>

#include "e2e/survival/shared_counts.hpp"
#include "e2e/survival/survival_rig.hpp"
#include "e2e/survival/system_calls.hpp"

// What the process that serves does for a request.
//
// A request must not wait for memory, which may only come free once the request is done: the process asks for none.
// libfuse asks for that of its own description of a request, which is locked and in use again at once. Nor must workers
// wait for each other: it takes no lock. libfuse takes that of its session, of which every worker has its own.

namespace remapfs::testing {
namespace {

// By which engine, and whether the primary is a disk rather than an image.
class Requests : public ForegroundRig, public ::testing::WithParamInterface<std::tuple<std::string, bool>> {
 protected:
  Requests() : ForegroundRig(to_a_disk()) {}
  static std::string engine() { return std::get<0>(GetParam()); }
  static bool to_a_disk() { return std::get<1>(GetParam()); }

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

TEST_P(Requests, TakeNeitherMemoryNorLocksOfOurs) {
  constexpr std::uint64_t kCount = 10'000;
  // Opening and closing the file, and whatever else goes on in a second or two.
  constexpr std::uint64_t kBeside = kCount / 50;
  mount(SharedCounts::environment(directory_ / "counts"), {"-o", "engine=" + engine()});
  ASSERT_EQ(volume_.status().at("engine"), engine());
  ASSERT_EQ(volume_.ask("add", {"0-" + std::to_string(kRemapped - 1)}).code, 0);
  ASSERT_EQ(volume_.status().at("remapped_blocks"), kRemapped);
  const pid_t worker = volume_.worker();
  ask(1000);  // what is made once is made
  const CountedCalls::Of before = counts_.of(worker);
  ask(kCount);
  const CountedCalls::Of after = counts_.of(worker);
  const std::uint64_t taken = after.memory - before.memory;
  const std::uint64_t locks = after.locks - before.locks;
  std::cout << kCount << " requests, " << taken << " times memory, " << locks << " locks\n";
  EXPECT_LE(taken, kCount + kBeside);
  EXPECT_GE(taken, kCount) << "libfuse's own are not seen: nothing is counted";
  EXPECT_LE(locks, kBeside);
  EXPECT_GT(before.locks, 0U) << "nothing is counted";
}

TEST_P(Requests, AreReceivedTransferredAndAnsweredByOneSystemCallEach) {
  constexpr std::uint64_t kCount = 5000;
  constexpr std::uint64_t kBeside = kCount / 50;
  mount({}, {"-o", "engine=" + engine()});
  const pid_t worker = volume_.worker();
  ask(1000);
  SystemCalls traced(directory_, worker);
  ask(kCount);
  auto calls = traced.end();
  for (const auto& [name, made] : calls) std::cout << name << ' ' << made.count << ", failed " << made.failed << '\n';

  const auto take = [&](const char* name) { return std::exchange(calls[name], {}); };
  const SystemCalls::Calls received = take("read");
  const SystemCalls::Calls answered = take("writev");
  EXPECT_NEAR(static_cast<double>(received.count - received.failed), kCount, kBeside);
  EXPECT_NEAR(static_cast<double>(answered.count), kCount, kBeside);
  if (engine() == "io_uring") {
    // Every request is followed by a look for those that came with it.
    EXPECT_LE(take("io_uring_enter").count, kCount + kBeside);
    EXPECT_LE(received.failed, kCount + kBeside);
  } else {
    EXPECT_LE(take("pread64").count + take("pwrite64").count, kCount + kBeside);
    EXPECT_LE(received.failed, kBeside);
  }
  // A write to an image that was cut off would make it longer, with zeros in between: its size is asked for first.
  const std::uint64_t asked = take("statx").count + take("newfstatat").count + take("fstat").count;
  EXPECT_LE(asked, kBeside + (to_a_disk() ? 0 : kCount / 2));
  std::uint64_t others = 0;
  for (const auto& [name, made] : calls) others += made.count;
  EXPECT_LE(others, kBeside);
}

// By the ring in fewer: several are transferred together.
TEST_P(Requests, ThirtyTwoAtOnceTakeNoMoreThanThreeSystemCallsEach) {
  constexpr std::uint64_t kCount = 5000;
  const std::uint64_t most = engine() == "io_uring" ? kCount * 5 / 2 : kCount * 3 + kCount / 50;
  mount({}, {"-o", "engine=" + engine()});
  ask(1000);
  std::uint64_t all = 0;
  // A busy machine may not be fast enough to have thirty-two in flight.
  for (int tries = 0; tries < 3 && (all == 0 || all > most); ++tries) {
    SystemCalls traced(directory_, volume_.worker());
    must_run({"fio", "--name=reads", "--filename=" + volume_.disk(), "--direct=1", "--ioengine=libaio", "--iodepth=32",
              "--bs=4k", "--rw=randread", "--io_size=" + std::to_string(kCount * kLength)});
    all = 0;
    for (const auto& [name, made] : traced.end()) all += made.count;
    std::cout << kCount << " requests, " << all << " system calls\n";
  }
  EXPECT_GE(all, kCount * 2);
  EXPECT_LE(all, most);
}

INSTANTIATE_TEST_SUITE_P(Engines, Requests,
                         ::testing::Combine(::testing::Values("io_uring", "blocking"), ::testing::Bool()),
                         [](const auto& suite) {
                           return std::get<0>(suite.param) + (std::get<1>(suite.param) ? "_disk" : "_image");
                         });

}  // namespace
}  // namespace remapfs::testing
