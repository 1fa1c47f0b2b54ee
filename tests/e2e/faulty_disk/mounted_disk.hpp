// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/json.hpp"

namespace faulty_test {

// What a command printed and how it ended.
struct Ran {
  int code = -1;
  std::string out;
  std::string err;
};

// Runs a shell command; after 60 seconds it is killed and the code is 124.
Ran run(const std::string& command);

// A directory for one test. A process of its own waits for the end of the test, however it comes, and then unmounts
// and detaches whatever is left below the directory, and removes it.
class TestDirectory {
 public:
  TestDirectory();
  ~TestDirectory();
  TestDirectory(const TestDirectory&) = delete;
  TestDirectory& operator=(const TestDirectory&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
  int lifeline_ = -1;
  pid_t cleaner_ = -1;
};

// A faulty disk over an image whose every byte tells its place.
class MountedDisk {
 public:
  static constexpr std::uint64_t kSize = 64U << 20U;

  explicit MountedDisk(const std::string& mount_options = "");

  [[nodiscard]] const std::string& file() const { return file_; }
  [[nodiscard]] std::string mount_point() const { return directory_ / "mnt"; }
  [[nodiscard]] std::string image() const { return directory_ / "image"; }
  [[nodiscard]] const TestDirectory& directory() const { return directory_; }

  // faulty-disk VERB MOUNTPOINT REST
  [[nodiscard]] Ran ask(const std::string& verb, const std::string& rest = "") const;
  // The same, which must succeed.
  void must(const std::string& verb, const std::string& rest = "") const;
  [[nodiscard]] nlohmann::json stats() const;
  [[nodiscard]] nlohmann::json rules() const;
  [[nodiscard]] pid_t server() const;

 private:
  TestDirectory directory_;
  std::string file_;
};

// An open file.
class File {
 public:
  File(const std::string& path, int flags);
  ~File();
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  [[nodiscard]] int fd() const { return fd_; }

  // Read or write the whole span at an offset; 0, an errno, or -1 for a short transfer.
  [[nodiscard]] int read(std::uint64_t at, std::span<std::byte> data) const;
  [[nodiscard]] int write(std::uint64_t at, std::span<const std::byte> data) const;
  // Reads sectors into a buffer that O_DIRECT takes; 0, an errno or -1.
  [[nodiscard]] int read_sectors(std::uint64_t first, std::uint64_t count) const;
  [[nodiscard]] int write_sectors(std::uint64_t first, std::uint64_t count, std::byte value) const;

 private:
  int fd_;
};

// The byte that a fresh image holds at an offset.
[[nodiscard]] std::byte original_byte(std::uint64_t at);
[[nodiscard]] std::vector<std::byte> original(std::uint64_t at, std::size_t length);

// A loop device made for one test.
class LoopDevice {
 public:
  LoopDevice(const std::string& file, const std::string& options);
  ~LoopDevice();
  LoopDevice(const LoopDevice&) = delete;
  LoopDevice& operator=(const LoopDevice&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace faulty_test
