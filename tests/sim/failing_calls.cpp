// SPDX-License-Identifier: Apache-2.0
#include "sim/failing_calls.hpp"

#include <dlfcn.h>
#include <stdio.h>  // NOLINT(modernize-deprecated-headers): renameat2
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

namespace remapfs::sim {

FailsOnce failing_calls;

namespace {

template <class Call>
Call* next(Call* /*like*/, const char* name) {
  return reinterpret_cast<Call*>(::dlsym(RTLD_NEXT, name));
}

bool refused() {
  if (!failing_calls.fails()) return false;
  errno = EIO;
  return true;
}

}  // namespace
}  // namespace remapfs::sim

// They take the place of the library's for the whole program.
extern "C" {

int fsync(int file) {
  static auto* const real = remapfs::sim::next(&fsync, "fsync");
  return remapfs::sim::refused() ? -1 : real(file);
}
int rename(const char* from, const char* to) {
  static auto* const real = remapfs::sim::next(&rename, "rename");
  return remapfs::sim::refused() ? -1 : real(from, to);
}
int renameat2(int from_folder, const char* from, int to_folder, const char* to, unsigned flags) {
  static auto* const real = remapfs::sim::next(&renameat2, "renameat2");
  return remapfs::sim::refused() ? -1 : real(from_folder, from, to_folder, to, flags);
}
int flock(int file, int operation) {
  static auto* const real = remapfs::sim::next(&flock, "flock");
  return remapfs::sim::refused() ? -1 : real(file, operation);
}
int mkostemp(char* name, int flags) {
  static auto* const real = remapfs::sim::next(&mkostemp, "mkostemp");
  return remapfs::sim::refused() ? -1 : real(name, flags);
}

}  // extern "C"
