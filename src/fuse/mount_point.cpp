// SPDX-License-Identifier: Apache-2.0
#include "fuse/mount_point.hpp"

#include <fcntl.h>
#include <fuse.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "fuse/mount_table.hpp"

extern char** environ;

namespace remapfs::fuse {

namespace {

constexpr std::string_view kType = "fuse.remapfs";
constexpr std::string_view kPlainType = "fuse";  // what fusermount3 falls back to where subtypes are not known

bool is_ours(const MountEntry& entry) { return entry.type == kType || entry.type == kPlainType; }

// The last line that says something, without the name of who said it.
std::string last_line(std::string_view text) {
  std::string line;
  while (!text.empty()) {
    const auto end = text.find('\n');
    const auto part = text.substr(0, end);
    if (!part.empty()) line = part;
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  for (const std::string_view prefix : {"fusermount3: ", "fuse: "}) {
    if (line.starts_with(prefix)) line.erase(0, prefix.size());
  }
  return line;
}

// Standard error goes into memory while this lives.
class CapturedStderr {
 public:
  CapturedStderr() : memory_(::memfd_create("stderr", MFD_CLOEXEC)), saved_(::fcntl(2, F_DUPFD_CLOEXEC, 3)) {
    if (memory_ && saved_) ::dup2(memory_.get(), 2);
  }
  ~CapturedStderr() { restore(); }
  CapturedStderr(const CapturedStderr&) = delete;
  CapturedStderr& operator=(const CapturedStderr&) = delete;

  std::string finish() {
    restore();
    std::string text(4096, '\0');
    const ssize_t length = memory_ ? ::pread(memory_.get(), text.data(), text.size(), 0) : 0;
    text.resize(length > 0 ? static_cast<std::size_t>(length) : 0);
    return text;
  }

 private:
  void restore() {
    if (!saved_ || !memory_) return;
    ::dup2(saved_.get(), 2);
    saved_.reset();
  }

  UniqueFd memory_;
  UniqueFd saved_;
};

Result<RootKind> root_kind(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    const int error = errno;
    if (error == ENOTCONN) {
      return fail(Errc::busy, path + ": a file system whose server died is mounted here; unmount it first", error);
    }
    return fail(error == ENOENT ? Errc::not_found : Errc::permission, path + ": " + std::strerror(error), error);
  }
  if (S_ISDIR(status.st_mode)) return RootKind::directory;
  if (S_ISREG(status.st_mode)) return RootKind::file;
  return fail(Errc::invalid, path + ": a mount point is a directory or a regular file");
}

std::string escape_option(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == ',' || c == '\\') out.push_back('\\');
    out.push_back(c);
  }
  return out;
}

// Exit status of fusermount3 -u, or -1, and what it printed.
struct FusermountOutcome {
  int status = -1;
  std::string text;
};

FusermountOutcome run_fusermount_unmount(const std::string& path) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return {-1, std::strerror(errno)};
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, writer.get(), 2);
  std::string program = "fusermount3";
  std::string flag = "-u";
  std::string end_of_options = "--";
  std::string target = path;
  std::array<char*, 5> argv{program.data(), flag.data(), end_of_options.data(), target.data(), nullptr};
  pid_t child = -1;
  const int error = ::posix_spawnp(&child, program.c_str(), &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  writer.reset();
  if (error != 0) return {-1, program + ": " + std::strerror(error)};

  FusermountOutcome outcome;
  std::array<char, 512> chunk{};
  while (true) {
    const ssize_t length = ::read(reader.get(), chunk.data(), chunk.size());
    if (length < 0 && errno == EINTR) continue;
    if (length <= 0) break;
    outcome.text.append(chunk.data(), static_cast<std::size_t>(length));
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return outcome;
}

tl::unexpected<Error> busy(const std::string& path) {
  return fail(Errc::busy, path + ": in use, not unmounted; close what uses it and try again", EBUSY);
}

Result<void> unmount_as_root(const std::string& path) {
  if (::umount2(path.c_str(), UMOUNT_NOFOLLOW) == 0) return {};
  const int error = errno;
  if (error == EBUSY) return busy(path);
  const Errc kind = error == EPERM || error == EACCES ? Errc::permission : Errc::device_other;
  return fail(kind, path + ": cannot unmount: " + std::strerror(error), error);
}

Result<void> unmount_as_user(const std::string& path) {
  const FusermountOutcome outcome = run_fusermount_unmount(path);
  if (outcome.status == 0) return {};
  // fusermount3 does not set a locale: its words are strerror's English ones.
  if (outcome.text.find(std::strerror(EBUSY)) != std::string::npos || outcome.text.find("busy") != std::string::npos) {
    return busy(path);
  }
  const std::string said = last_line(outcome.text);
  return fail(Errc::permission, path + ": cannot unmount: " + (said.empty() ? "fusermount3 failed" : said));
}

}  // namespace

std::string mount_option_string(const MountOptions& options, bool allow_other) {
  std::string text = "subtype=remapfs,default_permissions,nosuid,nodev,max_read=" + std::to_string(options.max_read);
  if (!options.source.empty()) text += ",fsname=" + escape_option(options.source);  // the kernel refuses an empty one
  if (options.read_only) text += ",ro";
  if (allow_other) text += ",allow_other";
  for (const std::string& option : options.extra) text += "," + escape_option(option);
  return text;
}

Result<FuseChannel> mount_fuse(const std::string& mount_point, const MountOptions& options) {
  auto path = canonical_mount_point(mount_point);
  if (!path) return fail(std::move(path.error()));
  const auto covered = find_mount(*path);
  if (!covered) return fail(covered.error());
  if (*covered) {
    return fail(Errc::busy, *path + ": " + (*covered)->source + " is mounted here already; choose another place",
                EBUSY);
  }
  const auto kind = root_kind(*path);
  if (!kind) return fail(kind.error());

  const bool root = ::geteuid() == 0;
  const std::string text = mount_option_string(options, options.allow_other || root);
  CapturedStderr captured;
  UniqueFd descriptor(::fuse_open_channel(path->c_str(), text.c_str()));
  const std::string said = last_line(captured.finish());
  if (!descriptor) {
    return fail(root ? Errc::device_other : Errc::permission,
                *path + ": cannot mount: " + (said.empty() ? "libfuse gives no reason" : said));
  }
  FuseChannel channel{std::move(descriptor), *kind, *path, std::nullopt};
  if (const auto entry = find_mount(*path); entry && *entry && is_ours(**entry)) {
    channel.connection = (*entry)->device_minor;
  }
  return channel;
}

Result<void> unmount_fuse(const std::string& mount_point) {
  const auto path = canonical_mount_point(mount_point);
  if (!path) return fail(path.error());
  const auto entry = find_mount(*path);
  if (!entry) return fail(entry.error());
  if (!*entry) return fail(Errc::not_found, *path + ": nothing is mounted here");
  if (!is_ours(**entry)) {
    return fail(Errc::invalid, *path + ": a " + (*entry)->type + " file system is mounted here, not remapfs");
  }
  return ::geteuid() == 0 ? unmount_as_root(*path) : unmount_as_user(*path);
}

}  // namespace remapfs::fuse
