// SPDX-License-Identifier: Apache-2.0
#include "e2e/kill/mounted_volume.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <fstream>
#include <stdexcept>
#include <system_error>

namespace remapfs::testing {
namespace {

constexpr int kDeathPatienceMs = 30'000;

[[noreturn]] void throw_errno(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

int pidfd_of(pid_t process) {
  const long fd = ::syscall(SYS_pidfd_open, process, 0);
  if (fd < 0) throw_errno("pidfd_open");
  return static_cast<int>(fd);
}

void make_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) != 0) throw_errno(path);
}

}  // namespace

FailingDisk::FailingDisk(const ScratchDirectory& directory, const std::string& name, std::uint64_t size)
    : directory_(directory), image_(directory / (name + ".img")), mount_point_(directory / name) {
  const OpenFile image(image_, O_RDWR | O_CREAT);
  if (::ftruncate(image.fd(), static_cast<off_t>(size)) != 0) throw_errno(image_);
  make_directory(mount_point_);
  must_run({FAULTY_DISK, "mount", image_, mount_point_});
}

void FailingDisk::add_rule(const std::vector<std::uint64_t>& sectors, const std::string& effect) {
  if (sectors.empty()) return;
  const std::string list =
      directory_ / fmt::format("sectors-{}-{}", mount_point_.substr(mount_point_.rfind('/') + 1), rules_++);
  {
    std::ofstream file(list);
    for (const std::uint64_t sector : sectors) file << sector << '\n';
  }
  must_run({FAULTY_DISK, "set", mount_point_, "list=" + list + "," + effect});
}

void FailingDisk::clear_rules() {
  must_run({FAULTY_DISK, "clear", mount_point_});
  rules_ = 0;
}

std::uint64_t FailingDisk::failures() const {
  std::uint64_t failures = 0;
  const auto list = nlohmann::json::parse(must_run({FAULTY_DISK, "list", mount_point_, "-J"}));
  for (const auto& rule : list.at("rules")) failures += rule.at("failed").get<std::uint64_t>();
  return failures;
}

MountedVolume::MountedVolume(const ScratchDirectory& directory)
    : map_(directory / "volume.map"), mount_point_(directory / "volume") {
  make_directory(mount_point_);
}

void MountedVolume::create(const std::string& primary, const std::string& spare,
                           const std::vector<std::string>& words) {
  std::vector<std::string> all{REMAPFS, "create", map_, "--primary", primary, "--spare", spare};
  all.insert(all.end(), words.begin(), words.end());
  must_run(all);
}

std::chrono::duration<double> MountedVolume::mount() {
  const auto start = std::chrono::steady_clock::now();
  must_run({REMAPFS, "mount", map_, mount_point_}, 300);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  const auto now = status();
  keeper_.emplace(pidfd_of(now.at("daemon_pid").get<pid_t>()));
  worker_.emplace(pidfd_of(now.at("worker_pid").get<pid_t>()));
  return took;
}

void MountedVolume::unmount() {
  must_run({REMAPFS, "unmount", map_});
  keeper_.reset();
  worker_.reset();
}

void MountedVolume::kill() {
  // Stopped, neither can follow the other.
  for (const int signal : {SIGSTOP, SIGKILL}) {
    for (const auto* process : {&worker_, &keeper_}) {
      if (::syscall(SYS_pidfd_send_signal, (*process)->fd(), signal, nullptr, 0) != 0)
        throw_errno("the daemon died by itself");
    }
  }
}

void MountedVolume::wait_until_dead() {
  for (auto* process : {&worker_, &keeper_}) {
    pollfd watched{(*process)->fd(), POLLIN, 0};
    if (::poll(&watched, 1, kDeathPatienceMs) != 1) throw std::runtime_error("the killed daemon does not go away");
    process->reset();
  }
}

void MountedVolume::unmount_dead() { must_run({REMAPFS, "unmount", "--force", mount_point_}); }

nlohmann::json MountedVolume::status() const {
  return nlohmann::json::parse(must_run({REMAPFS, "status", map_, "-J"}));
}

Ran MountedVolume::check() const { return run({REMAPFS, "check", map_}, 300); }

std::string MountedVolume::query(const std::string& sql) const {
  return must_run({"sqlite3", "-readonly", map_, sql}, 300);
}

Ran MountedVolume::ask(const std::string& verb, const std::vector<std::string>& words) const {
  std::vector<std::string> all{REMAPFS, verb, map_};
  all.insert(all.end(), words.begin(), words.end());
  return run(all);
}

}  // namespace remapfs::testing
