// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <future>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "e2e/survival/survival_rig.hpp"
#include "e2e/survival/system_calls.hpp"

// A kernel without memory refuses what is handed to a ring. Nothing may be lost, done twice, taken for a bad disk, or
// left without an answer when there is memory again.

namespace remapfs::testing {
namespace {

class RefusedRing : public ForegroundRig {
 protected:
  void serve(const std::vector<std::string>& environment = {}) {
    mount(environment, {"-o", "engine=io_uring,workers=1"});
    ASSERT_EQ(volume_.status().at("engine"), "io_uring");
  }
  // Whether it came, and was what the disk holds there.
  [[nodiscard]] bool read_zeros(std::uint64_t block) const {
    const OpenFile disk(volume_.disk(), O_RDONLY | O_DIRECT);
    alignas(kLength) std::array<char, kLength> bytes;
    bytes.fill('x');
    return ::pread(disk.fd(), bytes.data(), kLength, static_cast<off_t>(block * kLength)) == ssize_t{kLength} &&
           std::ranges::count(bytes, '\0') == ssize_t{kLength};
  }
  // The devices are fine.
  void expect_no_damage() {
    const auto status = volume_.status();
    EXPECT_EQ(status.at("state"), "healthy");
    EXPECT_EQ(status.at("remapped_blocks"), 0);
    EXPECT_EQ(status.at("crash_survival").at("restarts"), 0);
  }
};

// With an error of io_uring_enter(2).
class RefusedRings : public RefusedRing, public ::testing::WithParamInterface<std::string> {
 protected:
  void SetUp() override { serve(); }
  // Of the calls of each thread those that strace(1) names after "when=".
  [[nodiscard]] SystemCalls refuse(const std::string& when) {
    return {directory_, volume_.worker(), fmt::format("io_uring_enter:error={}:when={}", GetParam(), when)};
  }
};

TEST_P(RefusedRings, OneCallInThreeLosesNothing) {
  SystemCalls traced = refuse("1+3");
  verified_load(volume_.disk(), 1, kSize);
  const auto refused = traced.end()["io_uring_enter"];
  std::cout << refused.count << " calls, " << refused.failed << " refused\n";
  EXPECT_GE(refused.failed, 50U);
  expect_no_damage();
}

TEST_P(RefusedRings, ForAWhileAnswerAfterwards) {
  SystemCalls traced = refuse("1..400");
  const OpenFile disk(volume_.disk(), O_RDWR | O_DIRECT);
  alignas(kLength) std::array<char, kLength> written;
  std::ranges::fill(written, 'w');
  ASSERT_EQ(::pwrite(disk.fd(), written.data(), kLength, kLength), static_cast<ssize_t>(kLength));
  alignas(kLength) std::array<char, kLength> read{};
  ASSERT_EQ(::pread(disk.fd(), read.data(), kLength, kLength), static_cast<ssize_t>(kLength));
  EXPECT_EQ(read, written);
  EXPECT_GE(traced.end()["io_uring_enter"].failed, 400U);
  expect_no_damage();
}

// Its answer may be what frees memory.
TEST_F(RefusedRing, WhatIsDoneIsAnsweredMeanwhile) {
  const std::string refusing = directory_ / "refusing";
  serve({std::string("LD_PRELOAD=") + REFUSED_RING, "REFUSED_RING=" + refusing});
  primary_.add_rule({8}, "op=read,slow=1500ms,mode=times:1");
  const auto read = [this](std::uint64_t block) {
    return std::async(std::launch::async, [this, block] { return read_zeros(block); });
  };
  constexpr std::chrono::seconds kLong{20};
  auto slow = read(1);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));  // it is with the disk
  const OpenFile refusal(refusing, O_RDWR | O_CREAT);
  auto refused = read(100);
  EXPECT_EQ(slow.wait_for(kLong), std::future_status::ready);
  EXPECT_EQ(refused.wait_for(std::chrono::seconds(0)), std::future_status::timeout) << "nothing was refused";
  std::filesystem::remove(refusing);
  ASSERT_EQ(refused.wait_for(kLong), std::future_status::ready);
  EXPECT_TRUE(refused.get());
  EXPECT_TRUE(slow.get());
  expect_no_damage();
}

INSTANTIATE_TEST_SUITE_P(With, RefusedRings, ::testing::Values("EAGAIN", "EBUSY", "ENOMEM", "EINTR"),
                         [](const auto& suite) { return suite.param; });

}  // namespace
}  // namespace remapfs::testing
