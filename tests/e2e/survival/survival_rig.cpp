// SPDX-License-Identifier: Apache-2.0
#include "e2e/survival/survival_rig.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <thread>

namespace remapfs::testing {

namespace {

// Directories with files of known contents are made, read and removed.
void come_and_go(const std::string& folder, std::chrono::seconds how_long) {
  const auto until = std::chrono::steady_clock::now() + how_long;
  try {
    for (std::uint64_t round = 0; std::chrono::steady_clock::now() < until; ++round) {
      const std::string place = fmt::format("{}/round{}", folder, round);
      std::filesystem::create_directory(place);
      for (int i = 0; i < 20; ++i) std::ofstream(fmt::format("{}/{}", place, i)) << place << i;
      for (int i = 0; i < 20; ++i) {
        std::string text;
        std::ifstream(fmt::format("{}/{}", place, i)) >> text;
        EXPECT_EQ(text, place + std::to_string(i));
      }
      std::filesystem::remove_all(place);
    }
  } catch (const std::filesystem::filesystem_error& error) {
    ADD_FAILURE() << error.what();
  }
}

}  // namespace

void verified_load(const std::string& path, unsigned seconds, std::uint64_t size) {
  const Ran ran =
      run({"fio", "--name=load", "--filename=" + path, fmt::format("--size={}", size), "--direct=1",
           "--ioengine=libaio", "--iodepth=16", "--bs=4k", "--rw=randrw", "--time_based",
           fmt::format("--runtime={}", seconds), "--verify=crc32c", "--verify_fatal=1", "--verify_backlog=256",
           "--verify_state_save=0", "--fsync=32", "--randrepeat=0", "--output-format=terse"},
          seconds + 120);
  EXPECT_EQ(ran.code, 0) << ran.out << ran.err;
}

void load_file_system(const std::string& folder, unsigned seconds) {
  // Names as well as contents.
  const std::jthread names([&] { come_and_go(folder, std::chrono::seconds(seconds)); });
  verified_load(folder + "/file", seconds, 24U << 20U);
}

SurvivalRig::SurvivalRig() : random_(test_seed()) {
  const OpenFile primary(directory_ / "primary.img", O_RDWR | O_CREAT);
  if (::ftruncate(primary.fd(), static_cast<off_t>(kPrimarySize)) != 0) throw std::runtime_error("no room");
  volume_.create(directory_ / "primary.img", directory_ / "spare.img", {"--spare-size", "16M"});
  volume_.mount();
  keeper_ = volume_.keeper();
}

SurvivalRig::~SurvivalRig() {
  if (!file_system_.empty()) ::umount2(file_system_.c_str(), MNT_DETACH);
  if (!loop_.empty()) run({"losetup", "--detach", loop_}, 20);
  run({REMAPFS, "unmount", "--force", volume_.map()}, 30);
}

pid_t worker_of(pid_t keeper) {
  std::ifstream children(fmt::format("/proc/{0}/task/{0}/children", keeper));
  pid_t child = -1;
  children >> child;
  return children ? child : -1;
}

void SurvivalRig::kill_worker() {
  pid_t serving = -1;
  ASSERT_TRUE(eventually([&] { return (serving = worker()) > 0; })) << "nobody serves";
  ASSERT_EQ(::kill(serving, SIGKILL), 0);
}

void SurvivalRig::kill_and_hold(pid_t keeper, pid_t worker, const OpenFile& primary) {
  EXPECT_EQ(::kill(keeper, SIGSTOP), 0);
  EXPECT_EQ(::kill(worker, SIGKILL), 0);
  EXPECT_EQ(::flock(primary.fd(), LOCK_EX), 0);
  EXPECT_EQ(::kill(keeper, SIGCONT), 0);
}

std::uint64_t SurvivalRig::kill_while(const std::function<void()>& body, std::chrono::milliseconds longest) {
  std::atomic<bool> done = false;
  std::thread load([&] {
    body();
    done = true;
  });
  std::uint64_t kills = 0;
  pid_t killed = -1;  // is still there for a moment, and dies only once
  while (!done) {
    std::this_thread::sleep_for(std::chrono::milliseconds(random_.below(static_cast<std::uint64_t>(longest.count()))));
    const pid_t serving = worker();
    if (done || serving <= 0 || serving == killed || ::kill(serving, SIGKILL) != 0) continue;
    killed = serving;
    ++kills;
  }
  load.join();
  return kills;
}

const std::string& SurvivalRig::attach_loop() {
  loop_ = must_run({"losetup", "--find", "--show", "--direct-io=on", volume_.disk()});
  loop_.erase(loop_.find_last_not_of('\n') + 1);
  return loop_;
}

std::string SurvivalRig::mount_ext4() {
  const std::string& device = attach_loop();
  must_run({"mkfs.ext4", "-q", "-F", device});
  const std::string place = directory_ / "ext4";
  std::filesystem::create_directory(place);
  must_run({"mount", "-o", "errors=remount-ro", device, place});
  file_system_ = place;
  return place;
}

void SurvivalRig::unmount_ext4() {
  must_run({"umount", file_system_});
  file_system_.clear();
  const Ran checked = run({"e2fsck", "-f", "-n", loop_});
  EXPECT_EQ(checked.code, 0) << checked.out << checked.err;
}

std::uint64_t SurvivalRig::restarts() const {
  const Ran ran = run({REMAPFS, "status", volume_.map(), "-J"});
  if (ran.code != 0) return 0;
  const auto now = nlohmann::json::parse(ran.out).at("crash_survival");
  return now.is_object() ? now.at("restarts").get<std::uint64_t>() : 0;
}

std::string SurvivalRig::pattern(std::uint64_t length) {
  std::string bytes(length, '\0');
  random_.fill(std::as_writable_bytes(std::span(bytes)));
  return bytes;
}

// The spare has room for every block.
ForegroundRig::ForegroundRig(bool on_disk) {
  if (on_disk) device_.emplace(primary_.path(), LoopOptions{.direct_io = true});
  volume_.create(device_ ? device_->path() : primary_.path(), directory_ / "spare.img", {"--spare-size", "40M"});
}

ForegroundRig::~ForegroundRig() { run({REMAPFS, "unmount", "--force", volume_.map()}, 30); }

void ForegroundRig::mount(const std::vector<std::string>& environment, const std::vector<std::string>& options) {
  std::vector<std::string> words{"env"};
  words.insert(words.end(), environment.begin(), environment.end());
  words.insert(words.end(), {REMAPFS, "mount", volume_.map(), directory_ / "volume", "--foreground"});
  words.insert(words.end(), options.begin(), options.end());
  daemon_ = std::async(std::launch::async, [words] { return run(words, 600); });
  const bool mounted = eventually([this] { return volume_.status().at("mounted").get<bool>(); });
  if (!mounted) throw std::runtime_error("not mounted in time");
}

Ran ForegroundRig::end_of_daemon() {
  if (daemon_.wait_for(std::chrono::seconds(30)) != std::future_status::ready) return {124, {}, "still there"};
  return daemon_.get();
}

}  // namespace remapfs::testing
