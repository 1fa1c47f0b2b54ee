// SPDX-License-Identifier: Apache-2.0
#include "process_safety.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/prctl.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace faulty {
namespace {

// Stacks are locked memory too, and nothing here recurses deeper than a search tree.
constexpr std::size_t kThreadStack = 512 * 1024;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif
#else
constexpr bool kSanitized = false;
#endif

void set_io_flusher(ProcessSafety& safety) {
  if (::prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) == 0 && ::prctl(PR_GET_IO_FLUSHER, 0, 0, 0, 0) == 1) {
    safety.io_flusher = true;
    return;
  }
  safety.warnings.push_back(
      fmt::format("cannot become an I/O flusher, {}, memory pressure may hang the disk, give it CAP_SYS_RESOURCE",
                  std::strerror(errno)));
}

void lock_memory(ProcessSafety& safety) {
  if (kSanitized) return;  // terabytes of shadow memory
  rlimit limit{};
  ::getrlimit(RLIMIT_MEMLOCK, &limit);
  // With a small limit and MCL_FUTURE a later allocation would fail instead of this call.
  if (::geteuid() != 0 && limit.rlim_cur != RLIM_INFINITY) {
    safety.warnings.push_back(
        "cannot lock memory, limit too low, the disk may be swapped out, run as root or raise ulimit -l");
    return;
  }
  if (::mlockall(MCL_CURRENT | MCL_FUTURE) == 0) {
    safety.memory_locked = true;
    return;
  }
  safety.warnings.push_back(
      fmt::format("cannot lock memory, {}, the disk may be swapped out, give it CAP_IPC_LOCK", std::strerror(errno)));
}

void lower_oom_score() {
  const int fd = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  // Refused without CAP_SYS_RESOURCE, where the two warnings above have said enough.
  [[maybe_unused]] const ssize_t written = ::write(fd, "-1000", 5);
  ::close(fd);
}

}  // namespace

ProcessSafety make_process_safe() {
  ProcessSafety safety;
  ::mallopt(M_ARENA_MAX, 2);
  ::mallopt(M_TRIM_THRESHOLD, 256 * 1024 * 1024);
  pthread_attr_t attributes;
  if (::pthread_attr_init(&attributes) == 0) {
    if (!kSanitized && ::pthread_attr_setstacksize(&attributes, kThreadStack) == 0) {
      ::pthread_setattr_default_np(&attributes);
    }
    ::pthread_attr_destroy(&attributes);
  }
  set_io_flusher(safety);
  lower_oom_score();
  lock_memory(safety);
  return safety;
}

}  // namespace faulty
