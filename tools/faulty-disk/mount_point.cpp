// SPDX-License-Identifier: Apache-2.0
#include "mount_point.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>

namespace faulty {
namespace {

namespace fs = std::filesystem;
using remapfs::Errc;
using remapfs::fail;
using remapfs::Result;

bool is_below(const std::string& path, const std::string& mount_point) {
  return path == mount_point || (path.starts_with(mount_point) && path[mount_point.size()] == '/');
}

std::string first_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// Calls visit(path) for the entries of a directory until it returns false; ends where the directory ends or vanishes,
// as those of processes do.
template <class Visit>
void for_each_entry(const fs::path& directory, Visit&& visit) {
  std::error_code error;
  for (fs::directory_iterator entry(directory, error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    if (!visit(entry->path())) return;
  }
}

void add_loop_devices(const std::string& mount_point, std::vector<std::string>& users) {
  for_each_entry("/sys/block", [&](const fs::path& device) {
    const std::string file = first_line(device / "loop/backing_file");
    if (!file.empty() && is_below(file, mount_point)) users.push_back("/dev/" + device.filename().string());
    return true;
  });
}

bool has_open_file(const fs::path& process, const std::string& mount_point) {
  std::error_code ignored;
  bool found = false;
  for_each_entry(process / "fd", [&](const fs::path& descriptor) {
    found = is_below(fs::read_symlink(descriptor, ignored).string(), mount_point);
    return !found;
  });
  return found || is_below(fs::read_symlink(process / "cwd", ignored).string(), mount_point);
}

void add_processes(const std::string& mount_point, std::vector<std::string>& users) {
  for_each_entry("/proc", [&](const fs::path& process) {
    const std::string pid = process.filename().string();
    if (pid.find_first_not_of("0123456789") == std::string::npos && pid != fmt::format("{}", ::getpid()) &&
        has_open_file(process, mount_point)) {
      users.push_back(fmt::format("{} (pid {})", first_line(process / "comm"), pid));
    }
    return true;
  });
}

// For users without the right to unmount; fusermount3 has it. Returns 0 or an errno.
int run_fusermount(const std::string& mount_point) {
  std::string program = "fusermount3";
  std::string quiet = "-q";
  std::string action = "-u";
  std::string end = "--";
  std::string path = mount_point;
  const std::array<char*, 6> argv{program.data(), quiet.data(), action.data(), end.data(), path.data(), nullptr};
  pid_t child = 0;
  if (const int error = ::posix_spawnp(&child, program.c_str(), nullptr, nullptr, argv.data(), environ); error != 0) {
    return error;
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return errno;
  }
  // It does not tell its reasons apart; busy is the usual one.
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : EBUSY;
}

}  // namespace

std::vector<std::string> users_of(const std::string& mount_point) {
  std::vector<std::string> users;
  add_loop_devices(mount_point, users);
  add_processes(mount_point, users);
  return users;
}

Result<void> unmount_in_order(const std::string& mount_point) {
  int error = ::umount2(mount_point.c_str(), UMOUNT_NOFOLLOW) == 0 ? 0 : errno;
  if (error == EPERM) error = run_fusermount(mount_point);
  if (error == 0) return {};
  if (error != EBUSY) {
    const Errc code = error == EPERM ? Errc::permission : Errc::not_found;
    return fail(code, fmt::format("cannot unmount, {}: {}", mount_point, std::strerror(error)), error);
  }
  const std::vector<std::string> users = users_of(mount_point);
  return fail(Errc::busy,
              fmt::format("busy, {}, used by {}; stop that and try again, the disk keeps serving", mount_point,
                          users.empty() ? "somebody" : fmt::format("{}", fmt::join(users, ", "))),
              error);
}

}  // namespace faulty
