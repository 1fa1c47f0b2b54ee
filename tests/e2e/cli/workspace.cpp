// SPDX-License-Identifier: Apache-2.0
#include "e2e/cli/workspace.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "cli/loop_device.hpp"
#include "cli/mount_entry.hpp"
#include "core/unique_fd.hpp"

namespace remapfs::e2e {

void expect_one_error(const Ran& ran, int exit_code, const std::string& part) {
  EXPECT_EQ(ran.exit_code, exit_code) << ran.err;
  EXPECT_THAT(ran.err, ::testing::StartsWith("remapfs: "));
  EXPECT_EQ(std::count(ran.err.begin(), ran.err.end(), '\n'), 1) << ran.err;
  EXPECT_THAT(ran.err, ::testing::HasSubstr(part));
}

Workspace::Workspace() {
  write_bytes(primary_, 0, known_bytes(0, kPrimaryBytes));
  std::filesystem::create_directory(mnt_);
}

Workspace::~Workspace() { take_down(); }

void Workspace::take_down() {
  const std::string base = std::filesystem::canonical(dir_.path()).string();
  auto mounts = cli::all_mounts({});
  std::reverse(mounts.begin(), mounts.end());
  for (const cli::MountEntry& mount : mounts) {
    const bool ours = mount.mount_point.starts_with(base) || (mount.is_ours() && mount.source.starts_with(base));
    if (!ours) continue;
    if (mount.is_ours()) {
      for (const std::string& loop : cli::loops_over(mount.possible_disk_paths())) {
        for (const cli::MountEntry& above : mounts) {
          if (above.source == loop) ::umount2(above.mount_point.c_str(), MNT_DETACH);
        }
        run_program({"losetup", "--detach", loop});
      }
    }
    ::umount2(mount.mount_point.c_str(), MNT_FORCE | MNT_DETACH);
    // Of the default place, the directory too.
    if (mount.is_ours() && mount.mount_point.starts_with("/run/remapfs/")) ::rmdir(mount.mount_point.c_str());
  }
}

void Workspace::create(const std::vector<std::string>& more) {
  std::vector<std::string> args{"create", map_, "--primary", primary_, "--spare", spare_, "--spare-size", "2M"};
  args.insert(args.end(), more.begin(), more.end());
  const Ran ran = remapfs(args);
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
}

void Workspace::mount(const std::vector<std::string>& more) {
  std::vector<std::string> args{"mount", map_, mnt_};
  args.insert(args.end(), more.begin(), more.end());
  const Ran ran = remapfs(args);
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
}

void Workspace::unmount() {
  const Ran ran = remapfs({"unmount", map_});
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
}

nlohmann::json Workspace::status(const std::string& target) const {
  const Ran ran = remapfs({"status", target, "-J"});
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  return nlohmann::json::parse(ran.out, nullptr, false);
}

std::string Workspace::read_bytes(const std::string& path, std::uint64_t offset, std::size_t length) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return "cannot open";
  std::string bytes(length, '\0');
  const ssize_t got = ::pread(file.get(), bytes.data(), length, static_cast<off_t>(offset));
  if (got < 0) return "cannot read";
  bytes.resize(static_cast<std::size_t>(got));
  return bytes;
}

void Workspace::write_bytes(const std::string& path, std::uint64_t offset, const std::string& bytes) {
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_TRUE(file) << path;
  ASSERT_EQ(::pwrite(file.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset)),
            static_cast<ssize_t>(bytes.size()));
  ASSERT_EQ(::fsync(file.get()), 0);
}

std::string Workspace::known_bytes(std::uint64_t offset, std::size_t length) {
  std::string bytes(length, '\0');
  for (std::size_t i = 0; i < length; ++i) {
    const std::uint64_t at = offset + i;
    bytes[i] = static_cast<char>((at / 512 * 31 + at % 251) & 0xffU);
  }
  return bytes;
}

std::string Workspace::fingerprint() const {
  const Ran ran =
      run_program({"sh", "-c", "cd \"$0\" && sha256sum primary spare volume.map* 2>/dev/null; ls -l | wc -l",
                   dir_.path().string()});
  return ran.out;
}

pid_t Workspace::daemon() const { return status(map_)["daemon_pid"].get<pid_t>(); }

pid_t Workspace::worker() const { return status(map_)["worker_pid"].get<pid_t>(); }

void Workspace::kill_daemon() const {
  const auto now = status(map_);
  // Stopped, neither of the two can follow the other.
  for (const int signal : {SIGSTOP, SIGKILL}) {
    for (const char* process : {"worker_pid", "daemon_pid"}) ::kill(now.at(process).get<pid_t>(), signal);
  }
  EXPECT_TRUE(ends_within(now.at("worker_pid").get<pid_t>(), std::chrono::seconds(30)));
}

bool Workspace::ends_within(pid_t pid, std::chrono::seconds timeout) {
  const UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!process) return true;
  pollfd entry{process.get(), POLLIN, 0};
  return ::poll(&entry, 1, static_cast<int>(std::chrono::milliseconds(timeout).count())) > 0;
}

std::string Workspace::mount_failing_disk() {
  std::string failing = dir_ / "failing";
  std::filesystem::create_directory(failing);
  EXPECT_EQ(run_program({REMAPFS_FAULTY_DISK, "mount", primary_, failing}).exit_code, 0);
  return failing;
}

}  // namespace remapfs::e2e
