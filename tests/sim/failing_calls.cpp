// SPDX-License-Identifier: Apache-2.0
// The plain functions, without checks of the library around them.
#undef _FORTIFY_SOURCE
#include "sim/failing_calls.hpp"

#include <fcntl.h>
#include <stdio.h>   // NOLINT(modernize-deprecated-headers): renameat2
#include <stdlib.h>  // NOLINT(modernize-deprecated-headers): realpath
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>

#include "sim/sim_folder.hpp"
#include "support/next_function.hpp"

namespace remapfs::sim {

FailsOnce failing_calls;

namespace {

bool refused() {
  if (MachinesMemory::is_taken() || !failing_calls.fails()) return false;
  errno = EIO;
  return true;
}

}  // namespace
}  // namespace remapfs::sim

using remapfs::sim::refused;
using remapfs::sim::SimFolder;
using remapfs::testing::next_function;

// They take the place of the library's for the whole program.
extern "C" {

int open(const char* path, int flags, ...) {
  static auto* const real = next_function(&open, "open");
  mode_t mode = 0;
  if ((flags & (O_CREAT | O_TMPFILE)) != 0) {
    std::va_list arguments;
    va_start(arguments, flags);
    mode = va_arg(arguments, mode_t);
    va_end(arguments);
  }
  return refused() ? -1 : real(path, flags, mode);
}
int stat(const char* path, struct stat* status) {
  static auto* const real = next_function(&stat, "stat");
  return refused() ? -1 : real(path, status);
}
int lstat(const char* path, struct stat* status) {
  static auto* const real = next_function(&lstat, "lstat");
  return refused() ? -1 : real(path, status);
}
int fstat(int file, struct stat* status) {
  static auto* const real = next_function(&fstat, "fstat");
  return refused() ? -1 : real(file, status);
}
ssize_t pread(int file, void* data, size_t size, off_t offset) {
  static auto* const real = next_function(&pread, "pread");
  return refused() ? -1 : real(file, data, size, offset);
}
char* realpath(const char* path, char* resolved) {
  static auto* const real = next_function(&realpath, "realpath");
  return refused() ? nullptr : real(path, resolved);
}
int flock(int file, int operation) {
  static auto* const real = next_function(&flock, "flock");
  return refused() ? -1 : real(file, operation);
}
int fsync(int file) {
  static auto* const real = next_function(&fsync, "fsync");
  if (refused()) return -1;
  SimFolder* const folder = SimFolder::of(file);
  return folder == nullptr ? real(file) : folder->sync(file, [&] { return real(file); });
}
int rename(const char* from, const char* to) {
  static auto* const real = next_function(&rename, "rename");
  if (refused()) return -1;
  SimFolder* const folder = SimFolder::of(to);
  return folder == nullptr ? real(from, to) : folder->rename(from, to, [&] { return real(from, to); });
}
int renameat2(int from_folder, const char* from, int to_folder, const char* to, unsigned flags) {
  static auto* const real = next_function(&renameat2, "renameat2");
  if (refused()) return -1;
  const auto carry_out = [&] { return real(from_folder, from, to_folder, to, flags); };
  SimFolder* const folder = SimFolder::of(to);
  return folder == nullptr ? carry_out() : folder->rename(from, to, carry_out);
}
int mkostemp(char* name, int flags) {
  static auto* const real = next_function(&mkostemp, "mkostemp");
  if (refused()) return -1;
  const auto carry_out = [&] { return real(name, flags); };
  SimFolder* const folder = SimFolder::of(name);
  return folder == nullptr ? carry_out() : folder->make(name, carry_out);
}
// What fails to be taken away stays: only power is lost here.
int unlink(const char* name) noexcept {
  static auto* const real = next_function(&unlink, "unlink");
  SimFolder* const folder = SimFolder::of(name);
  return folder == nullptr ? real(name) : folder->remove(name, [&] { return real(name); });
}

}  // extern "C"
