// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <future>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

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
  using Block = std::array<char, kLength>;

  SurvivalFence() { volume_.create(primary_.path(), spare_.path(), {}); }
  ~SurvivalFence() override { run({REMAPFS, "unmount", "--force", volume_.map()}, 30); }

  // environment: "NAME=VALUE" each.
  void mount(const std::vector<std::string>& environment = {}) {
    std::vector<std::string> words{"env"};
    words.insert(words.end(), environment.begin(), environment.end());
    words.insert(words.end(), {REMAPFS, "mount", volume_.map(), directory_ / "volume", "-o", "engine=" + GetParam()});
    must_run(words);
    ASSERT_EQ(volume_.status().at("engine"), GetParam());
  }

  // Writes block 0 and kills whoever serves while the device has that write and keeps it for a while; writes it again,
  // with something else, and waits until all that was on its way has landed. What is read then.
  void overtake(FailingDisk& device, Block& found) {
    constexpr auto kSlow = 1500ms;
    const OpenFile disk(volume_.disk(), O_RDWR | O_DIRECT);
    struct stat status {};
    ASSERT_EQ(::stat(device.path().c_str(), &status), 0);
    std::vector<std::uint64_t> everywhere(static_cast<std::uint64_t>(status.st_size) / 512);
    std::iota(everywhere.begin(), everywhere.end(), std::uint64_t{0});
    device.add_rule(everywhere, "op=write,slow=1500ms,mode=times:1");
    const auto begun = Clock::now();
    auto first = std::async(std::launch::async, [&] { return ::pwrite(disk.fd(), older_.data(), kLength, 0); });
    std::this_thread::sleep_for(300ms);  // it is on its way; the rule has caught it and catches no other
    ASSERT_EQ(first.wait_for(0s), std::future_status::timeout);
    ASSERT_EQ(::kill(volume_.worker(), SIGKILL), 0);

    ASSERT_EQ(first.get(), static_cast<ssize_t>(kLength)) << "the kernel sends it again";
    ASSERT_EQ(::pwrite(disk.fd(), newer_.data(), kLength, 0), static_cast<ssize_t>(kLength));
    ASSERT_EQ(::fsync(disk.fd()), 0);
    std::this_thread::sleep_until(begun + kSlow + 500ms);
    ASSERT_EQ(::pread(disk.fd(), found.data(), kLength, 0), static_cast<ssize_t>(kLength));
  }

  static Block filled(char with) {
    Block block;
    block.fill(with);
    return block;
  }

  ScratchDirectory directory_;
  FailingDisk primary_{directory_, "primary", std::uint64_t{32} << 20U};
  FailingDisk spare_{directory_, "spare", std::uint64_t{8} << 20U};
  MountedVolume volume_{directory_};
  alignas(4096) Block older_ = filled('o');
  alignas(4096) Block newer_ = filled('n');
  alignas(4096) Block found_ = filled('-');
};

TEST_P(SurvivalFence, AWriteInFlightAtTheKillDoesNotLandOnANewerOne) {
  mount();
  overtake(primary_, found_);
  EXPECT_EQ(found_, newer_);
}

TEST_P(SurvivalFence, AWriteInFlightToASlotDoesNotLandOnANewerOne) {
  mount();
  ASSERT_EQ(volume_.ask("add", {"0"}).code, 0);
  overtake(spare_, found_);
  EXPECT_EQ(found_, newer_);
}

// That it could: where locks hold nobody, the next process begins while the ring of the killed one still has a write.
// A process that writes by itself is not gone before its writes are.
TEST_P(SurvivalFence, WithoutItTheOlderWriteLands) {
  mount({std::string("LD_PRELOAD=") + NO_LOCKS});
  overtake(primary_, found_);
  EXPECT_EQ(found_, GetParam() == "io_uring" ? older_ : newer_);
}

INSTANTIATE_TEST_SUITE_P(Engines, SurvivalFence, ::testing::Values("io_uring", "blocking"),
                         [](const auto& suite) { return suite.param; });

}  // namespace
}  // namespace remapfs::testing
