// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <mutex>

// Clang's thread-safety analysis: a member says which lock guards it and the compiler checks. Nothing under GCC.

#if defined(__clang__)
#define REMAPFS_TSA(x) __attribute__((x))
#else
#define REMAPFS_TSA(x)
#endif

#define CAPABILITY(x) REMAPFS_TSA(capability(x))
#define SCOPED_CAPABILITY REMAPFS_TSA(scoped_lockable)
#define GUARDED_BY(x) REMAPFS_TSA(guarded_by(x))
#define REQUIRES(...) REMAPFS_TSA(requires_capability(__VA_ARGS__))
#define ACQUIRE(...) REMAPFS_TSA(acquire_capability(__VA_ARGS__))
#define RELEASE(...) REMAPFS_TSA(release_capability(__VA_ARGS__))
#define EXCLUDES(...) REMAPFS_TSA(locks_excluded(__VA_ARGS__))
#define NO_THREAD_SAFETY_ANALYSIS REMAPFS_TSA(no_thread_safety_analysis)

namespace remapfs {

// std::mutex that the analysis knows.
class CAPABILITY("mutex") Mutex {
 public:
  void lock() ACQUIRE() { mutex_.lock(); }
  void unlock() RELEASE() { mutex_.unlock(); }
  // For std::unique_lock, which the analysis does not follow.
  [[nodiscard]] bool try_lock() NO_THREAD_SAFETY_ANALYSIS { return mutex_.try_lock(); }

 private:
  std::mutex mutex_;
};

// Holds a Mutex for a scope; a condition variable may give it up while waiting.
class SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  ~MutexLock() RELEASE() { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

  // BasicLockable, for std::condition_variable_any.
  void lock() NO_THREAD_SAFETY_ANALYSIS { mutex_.lock(); }
  void unlock() NO_THREAD_SAFETY_ANALYSIS { mutex_.unlock(); }

 private:
  Mutex& mutex_;
};

}  // namespace remapfs
