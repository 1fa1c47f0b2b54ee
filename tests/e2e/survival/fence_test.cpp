// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <future>
#include <thread>

#include "e2e/survival/survival_rig.hpp"

// Promise I1 across the death of the serving process: transfers outlive the process that began them. One that is still
// on its way must not land on what was written later.

namespace remapfs::testing {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

class SurvivalFence : public ::testing::TestWithParam<std::string> {
 protected:
  static constexpr std::size_t kLength = 4096;

  SurvivalFence() {
    volume_.create(primary_.path(), directory_ / "spare.img", {"--spare-size", "4M"});
    must_run({REMAPFS, "mount", volume_.map(), directory_ / "volume", "-o", "engine=" + GetParam()});
  }
  ~SurvivalFence() override { run({REMAPFS, "unmount", "--force", volume_.map()}, 30); }

  ScratchDirectory directory_;
  FailingDisk primary_{directory_, "primary", std::uint64_t{32} << 20U};
  MountedVolume volume_{directory_};
};

TEST_P(SurvivalFence, AWriteInFlightAtTheKillDoesNotLandOnANewerOne) {
  constexpr auto kSlow = 1500ms;
  const OpenFile disk(volume_.disk(), O_RDWR | O_DIRECT);
  alignas(4096) static std::array<char, kLength> older;
  alignas(4096) static std::array<char, kLength> newer;
  alignas(4096) static std::array<char, kLength> found;
  older.fill('o');
  newer.fill('n');

  primary_.add_rule({0}, "op=write,slow=1500ms,mode=times:1");
  const auto begun = Clock::now();
  auto first = std::async(std::launch::async, [&] { return ::pwrite(disk.fd(), older.data(), kLength, 0); });
  std::this_thread::sleep_for(300ms);  // it is on its way; the rule has caught it and catches no other
  ASSERT_EQ(first.wait_for(0s), std::future_status::timeout);
  ASSERT_EQ(::kill(volume_.worker(), SIGKILL), 0);

  ASSERT_EQ(first.get(), static_cast<ssize_t>(kLength)) << "the kernel sends it again";
  ASSERT_EQ(::pwrite(disk.fd(), newer.data(), kLength, 0), static_cast<ssize_t>(kLength));
  ASSERT_EQ(::fsync(disk.fd()), 0);
  // Whatever was on its way has landed by now.
  std::this_thread::sleep_until(begun + kSlow + 500ms);
  ASSERT_EQ(::pread(disk.fd(), found.data(), kLength, 0), static_cast<ssize_t>(kLength));
  EXPECT_EQ(found, newer);
}

INSTANTIATE_TEST_SUITE_P(Engines, SurvivalFence, ::testing::Values("io_uring", "blocking"),
                         [](const auto& suite) { return suite.param; });

}  // namespace
}  // namespace remapfs::testing
