// SPDX-License-Identifier: Apache-2.0
#include "control/socket_place.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace remapfs {
namespace {

constexpr const char* kRootDirectory = "/run/remapfs";

bool is_directory(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

std::string temporary_directory_of(uid_t uid) { return fmt::format("/tmp/remapfs-{}", uid); }
std::string session_directory_of(uid_t uid) { return fmt::format("/run/user/{}", uid); }

}  // namespace

RuntimePlace runtime_place(uid_t uid, std::string_view xdg_runtime_dir) {
  if (uid == 0) return {kRootDirectory, true};
  if (!xdg_runtime_dir.empty()) return {fmt::format("{}/remapfs", xdg_runtime_dir), false};
  if (const std::string session = session_directory_of(uid); is_directory(session))
    return {session + "/remapfs", false};
  return {temporary_directory_of(uid), false};
}

Result<void> prepare_runtime_directory(const RuntimePlace& place) {
  const char* const path = place.directory.c_str();
  const mode_t mode = place.shared ? 0755 : 0700;
  if (::mkdir(path, mode) == 0) {
    // mkdir obeys the umask, which may be anything.
    if (::chmod(path, mode) == 0) return {};
  } else if (errno == EEXIST) {
    struct stat info {};
    if (::lstat(path, &info) == 0) {
      const bool ours = S_ISDIR(info.st_mode) && info.st_uid == ::geteuid();
      const bool safe = (info.st_mode & (S_IWGRP | S_IWOTH)) == 0;
      if (ours && safe) return {};
      return fail(Errc::permission, fmt::format("directory for control sockets is not safely ours, {}, remove it or "
                                                "set XDG_RUNTIME_DIR",
                                                place.directory));
    }
  }
  const int error = errno;
  return fail(error == EACCES ? Errc::permission : Errc::device_other,
              fmt::format("cannot make the directory for control sockets, {} ({}), make it or set XDG_RUNTIME_DIR",
                          place.directory, std::strerror(error)),
              error);
}

std::string socket_path(const RuntimePlace& place, std::string_view volume_uuid) {
  return fmt::format("{}/{}.sock", place.directory, volume_uuid);
}

std::vector<std::string> socket_candidates(std::string_view volume_uuid, uid_t uid, std::string_view xdg_runtime_dir,
                                           uid_t mount_owner) {
  std::vector<std::string> paths;
  const auto offer = [&](const std::string& directory) {
    std::string path = socket_path({directory, false}, volume_uuid);
    if (std::find(paths.begin(), paths.end(), path) == paths.end()) paths.push_back(std::move(path));
  };
  offer(runtime_place(uid, xdg_runtime_dir).directory);
  offer(kRootDirectory);
  if (uid == 0 && mount_owner != 0) {
    offer(session_directory_of(mount_owner) + "/remapfs");
    offer(temporary_directory_of(mount_owner));
  }
  return paths;
}

}  // namespace remapfs
