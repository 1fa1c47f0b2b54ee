// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/unique_fd.hpp"
#include "remapfs/error.hpp"
#include "remapfs/units.hpp"

namespace remapfs::fuse {

struct MountOptions {
  std::string source;        // what mount tables show as the device: the path of the map, any bytes; "remapfs" if empty
  bool read_only = false;    // the mount itself is `ro`
  bool allow_other = false;  // always so for root; users need user_allow_other in /etc/fuse.conf
  std::uint32_t max_read = static_cast<std::uint32_t>(kMaxRequestSize);
  std::vector<std::string> extra;  // further options of mount(8), each one word: noexec, noatime, context=...
};

// What the root of the mount is, as its mount point was.
enum class RootKind : std::uint8_t {
  directory,  // shows one file, `disk`
  file,       // is the disk
};

// A mounted connection to the kernel. Closing the descriptor, unless workers hold clones, ends the connection:
// callers get ENOTCONN. It does not unmount.
struct FuseChannel {
  UniqueFd descriptor;
  RootKind root = RootKind::directory;
  std::string mount_point;             // canonical
  std::optional<unsigned> connection;  // its number under /sys/fs/fuse/connections, when it could be found out
};

// Mounts at a directory (empty or not) or a regular file. Root mounts directly, others through fusermount3. The mount
// is nosuid, nodev, default_permissions, of type fuse.remapfs.
//
// Errors: not_found (no such mount point, no /dev/fuse), busy (something is mounted there), invalid (neither directory
//   nor file, bad option), permission, device_other (the kernel or fusermount3 refused); all with a message.
// Threads: before others start: standard error is taken for a moment, to hand on in one line what libfuse and
//   fusermount3 print there.
[[nodiscard]] Result<FuseChannel> mount_fuse(const std::string& mount_point, const MountOptions& options);

// Unmounts, never lazily: when it returns success nobody can reach the file system there any more. Root uses
// umount2(2), others `fusermount3 -u`.
//
// Errors: busy (in use; it stays mounted and served), not_found (nothing mounted there), invalid (another file
//   system), permission, device_other; all with a message.
// Threads: any. Must not be the only thread that serves the mount.
[[nodiscard]] Result<void> unmount_fuse(const std::string& mount_point);

// The option string for fuse_open_channel(). `read_only` and so on come out as mount(8) spells them; commas and
// backslashes of the source are escaped as libfuse's option parser wants.
[[nodiscard]] std::string mount_option_string(const MountOptions& options, bool allow_other);

}  // namespace remapfs::fuse
