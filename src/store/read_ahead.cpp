// SPDX-License-Identifier: Apache-2.0
#include "store/read_ahead.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <system_error>

namespace remapfs::store {

namespace {
constexpr long long kWorthIt = 8LL << 20U;
constexpr long long kStep = 4LL << 20U;
}  // namespace

ReadAhead::ReadAhead(int descriptor) {
  struct stat status {};
  if (::fstat(descriptor, &status) != 0 || status.st_size < kWorthIt) return;
  try {
    thread_ = std::thread(&ReadAhead::run, this, descriptor, static_cast<long long>(status.st_size));
  } catch (const std::system_error&) {
    return;
  }
}

ReadAhead::~ReadAhead() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
}

void ReadAhead::run(int descriptor, long long size) const {
  for (long long at = 0; at < size && !stop_; at += kStep) ::posix_fadvise(descriptor, at, kStep, POSIX_FADV_WILLNEED);
}

}  // namespace remapfs::store
