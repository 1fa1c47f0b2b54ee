// SPDX-License-Identifier: Apache-2.0
#include "support/mounted_filesystem.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <system_error>
#include <vector>

extern char** environ;

namespace remapfs::testing {
namespace {

void make_sparse_file(const std::string& path, std::uint64_t size) {
  std::ofstream{path};
  std::filesystem::resize_file(path, size);
}

}  // namespace

MountedFilesystem::MountedFilesystem(const std::string& type, std::uint64_t size, const LoopOptions& loop)
    : image_(directory_ / "image"), mount_point_(directory_ / "mnt") {
  make_sparse_file(image_, size);
  std::filesystem::create_directory(mount_point_);
  loop_ = std::make_unique<LoopDevice>(image_, loop);
  const std::string force = type == "ext4" ? "-F" : "-f";
  if (const int status = run_program({"mkfs." + type, "-q", force, loop_->path()}); status != 0) {
    throw std::runtime_error("mkfs." + type + " failed with status " + std::to_string(status));
  }
  if (::mount(loop_->path().c_str(), mount_point_.c_str(), type.c_str(), 0, nullptr) != 0) {
    throw std::system_error(errno, std::generic_category(), "mount " + type);
  }
}

MountedFilesystem::~MountedFilesystem() {
  // Lazily should something still be open: a failing test must not leave a mount behind.
  if (::umount(mount_point_.c_str()) != 0) ::umount2(mount_point_.c_str(), MNT_DETACH);
}

MountedTmpfs::MountedTmpfs(std::uint64_t size) {
  const std::string options = "size=" + std::to_string(size);
  if (::mount("tmpfs", directory_.path().c_str(), "tmpfs", 0, options.c_str()) != 0) {
    throw std::system_error(errno, std::generic_category(), "mount tmpfs");
  }
}

MountedTmpfs::~MountedTmpfs() {
  if (::umount(directory_.path().c_str()) != 0) ::umount2(directory_.path().c_str(), MNT_DETACH);
}

int run_program(std::initializer_list<std::string> arguments, unsigned seconds) {
  std::vector<std::string> words{"timeout", std::to_string(seconds)};
  words.insert(words.end(), arguments);
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  for (const int fd : {0, 1, 2}) {
    posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", fd == 0 ? O_RDONLY : O_WRONLY, 0);
  }
  pid_t child = 0;
  const int error = ::posix_spawnp(&child, "timeout", &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return 127;
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace remapfs::testing
