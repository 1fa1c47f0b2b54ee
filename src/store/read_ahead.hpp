// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <thread>

namespace remapfs::store {

// While one exists, the kernel is asked to bring the whole of a file into its cache, from the front to the end: SQLite
// reads page after page and waits for each, so a large map that is not cached takes half as long again to load.
// Threads: one. A file of a few MiB, or a thread that cannot be had, is left alone.
class ReadAhead {
 public:
  // The descriptor stays open as long as this object.
  explicit ReadAhead(int descriptor);
  ~ReadAhead();
  ReadAhead(const ReadAhead&) = delete;
  ReadAhead& operator=(const ReadAhead&) = delete;

 private:
  void run(int descriptor, long long size) const;

  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace remapfs::store
