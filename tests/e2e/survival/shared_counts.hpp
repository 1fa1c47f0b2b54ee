// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <string>
#include <system_error>
#include <vector>

#include "e2e/kill/scratch.hpp"
#include "support/counted_calls.hpp"

namespace remapfs::testing {

// A file of counts that processes under test write.
class SharedCounts {
 public:
  // What makes a program, and those it forks, write into this file: "NAME=VALUE" each.
  [[nodiscard]] static std::vector<std::string> environment(const std::string& path) {
    return {std::string("LD_PRELOAD=") + COUNTED_CALLS, "COUNTED_CALLS=" + path};
  }

  explicit SharedCounts(const std::string& path) : file_(path, O_RDWR | O_CREAT) {
    void* memory = MAP_FAILED;
    if (::ftruncate(file_.fd(), sizeof(CountedCalls)) == 0) {
      memory = ::mmap(nullptr, sizeof(CountedCalls), PROT_READ, MAP_SHARED, file_.fd(), 0);
    }
    if (memory == MAP_FAILED) throw std::system_error(errno, std::generic_category(), path);
    counts_ = static_cast<const CountedCalls*>(memory);
  }
  ~SharedCounts() { ::munmap(const_cast<CountedCalls*>(counts_), sizeof *counts_); }
  SharedCounts(const SharedCounts&) = delete;
  SharedCounts& operator=(const SharedCounts&) = delete;

  [[nodiscard]] CountedCalls::Of of(pid_t process) const { return counts_->of(process); }

 private:
  OpenFile file_;
  const CountedCalls* counts_ = nullptr;
};

}  // namespace remapfs::testing
