// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "fuse/mount_point.hpp"
#include "fuse/operations.hpp"
#include "fuse/transport.hpp"
#include "memory_disk.hpp"

namespace remapfs::fuse::test {

// Where the tests mount things: a tmpfs that only this process and its children see.
inline constexpr const char* kPlayground = "/mnt";

struct ServeOptions {
  RootKind root = RootKind::directory;
  unsigned workers = 4;
#ifdef REMAPFS_TEST_RINGS
  bool rings = true;  // the io_uring engine
#else
  bool rings = false;
#endif
  std::optional<uid_t> user;  // serves as this user, through fusermount3
  MountOptions mount;
};

// Mounts and serves until unmounted or SIGTERM; calls ready with "ok ..." or what went wrong. Returns an exit status.
int serve(const SharedMemory& memory, const std::string& mount_point, const ServeOptions& options,
          const std::function<void(const std::string&)>& ready);

// A memory disk, mounted, served by a child. The mount, the child and the mount point are gone after it, whatever
// state the test left them in. When a test takes too long, the child is killed: whoever hangs on it gets ENOTCONN.
class MountedDisk {
 public:
  explicit MountedDisk(std::uint64_t size, const ServeOptions& options = {});
  ~MountedDisk();
  MountedDisk(const MountedDisk&) = delete;
  MountedDisk& operator=(const MountedDisk&) = delete;

  [[nodiscard]] const SharedMemory& memory() const { return memory_; }
  [[nodiscard]] const std::string& mount_point() const { return mount_point_; }
  // The path of the disk.
  [[nodiscard]] std::string path() const;
  // What the server said when it was ready: "ok ..." and the transport's description.
  [[nodiscard]] const std::string& greeting() const { return greeting_; }
  void signal(int number) const { ::kill(server_, number); }
  // Waits for the server's end; its exit status, or -1 when a signal ended it.
  int wait_for_server();

 private:
  SharedMemory memory_;
  RootKind root_;
  std::string mount_point_;
  std::string greeting_;
  pid_t server_ = -1;
  std::mutex mutex_;
  std::condition_variable done_;
  bool finished_ = false;
  std::thread watchdog_;
};

struct CommandOutcome {
  int status = -1;
  std::string output;  // both streams
};

// Runs a shell command, for at most 60 s. $1, $2... are the arguments.
CommandOutcome run(const std::string& script, const std::vector<std::string>& arguments = {});

}  // namespace remapfs::fuse::test
