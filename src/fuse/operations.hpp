// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fuse_lowlevel.h>
#include <sys/stat.h>
#include <sys/types.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string_view>

#include "core/latency_histogram.hpp"
#include "fuse/failed_handles.hpp"
#include "fuse/mount_memory.hpp"
#include "fuse/mount_point.hpp"
#include "fuse/virtual_disk.hpp"
#include "remapfs/units.hpp"

namespace remapfs::fuse {

struct OperationsOptions {
  RootKind root = RootKind::directory;
  uid_t uid = ::geteuid();
  gid_t gid = ::getegid();
  mode_t mode = 0600;                            // permission bits of the disk; write bits are dropped when read-only
  std::uint64_t block_size = kDefaultBlockSize;  // the volume's: in df, and what loop takes as discard granularity
};

// The file system: one file, the disk, as the root itself or as `disk` in a root directory.
//
// Nothing of the contents is cached, here or in the kernel (FOPEN_DIRECT_IO): each request arrives with exactly the
// bytes the caller named, and its failure belongs to those bytes. Nothing here blocks but the disk.
// Owner, mode and times can be changed as those of a device node can: in memory, until the mount ends.
// mmap: private mappings work, shared ones answer ENODEV: an error on a mapped page could only be told by SIGBUS.
// Threads: all of it from any number of workers.
class Operations {
 public:
  // memory: what the process that served the mount before knew; kept up to date. Null: none. Disk and memory outlive
  // this object.
  Operations(VirtualDisk& disk, const OperationsOptions& options, MountMemory* memory = nullptr);

  // Names what the kernel goes on to believe of a mount when another program serves it: what FUSE_INIT agreed on, how
  // files are opened and what their handles mean. Two programs with the same name for it can serve the same mount.
  [[nodiscard]] static std::string_view dialect() { return "init-1 open-direct-parallel handle-dsync-bit0"; }

  // The operations for Transport::start(); the `service` that goes with them is a pointer to an object of this class.
  [[nodiscard]] static const fuse_lowlevel_ops& table();

  // From when a request was taken from the kernel until it was answered, since this object was made.
  [[nodiscard]] RequestLatencies latencies() const;

  // The members below are the operations' own; they are public for the functions in that table.
  enum class Node : std::uint8_t { none, directory, disk };
  [[nodiscard]] Node node(fuse_ino_t inode) const;
  [[nodiscard]] fuse_ino_t disk_inode() const { return options_.root == RootKind::file ? FUSE_ROOT_ID : 2; }
  [[nodiscard]] VirtualDisk& disk() const { return disk_; }
  [[nodiscard]] struct stat attributes(Node node) const;
  [[nodiscard]] struct statvfs usage() const;
  // Sets what FUSE_SET_ATTR_* bits name, sizes excepted.
  void change_attributes(const struct stat& wanted, int to_set);
  // The disk was written to now.
  void touch();
  // A number for a file opened with these flags: unique, and remembering O_DSYNC.
  [[nodiscard]] std::uint64_t new_handle(int flags);
  [[nodiscard]] static bool is_synchronous(std::uint64_t handle);
  [[nodiscard]] FailedHandles& failed_handles() { return failed_handles_; }
  // A request's answer is about to be sent.
  void note_latency(RequestKind kind, std::chrono::steady_clock::time_point begun) {
    latencies_[static_cast<std::size_t>(kind)].record(std::chrono::steady_clock::now() - begun);
  }

 private:
  VirtualDisk& disk_;
  const OperationsOptions options_;
  const std::unique_ptr<MountMemory> own_memory_;  // null when one was given
  AttributesMemory& attributes_;
  FailedHandles failed_handles_;
  std::atomic<std::uint64_t> next_handle_;
  std::array<LatencyHistogram, kRequestKinds> latencies_;
};

}  // namespace remapfs::fuse
