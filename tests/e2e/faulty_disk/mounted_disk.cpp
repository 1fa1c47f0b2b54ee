// SPDX-License-Identifier: Apache-2.0
#include "mounted_disk.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <sstream>

namespace faulty_test {
namespace {

std::string slurp(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// A sector of the image: its number in every word, so that shifted or stale data shows.
void fill(std::uint64_t at, std::span<std::byte> data) {
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = original_byte(at + i);
}

int outcome(ssize_t moved, std::size_t wanted) {
  if (moved < 0) return errno;
  return static_cast<std::size_t>(moved) == wanted ? 0 : -1;
}

using AlignedBuffer = std::unique_ptr<std::byte, decltype(&std::free)>;
AlignedBuffer aligned_buffer(std::size_t size) {
  return {static_cast<std::byte*>(std::aligned_alloc(4096, (size + 4095) / 4096 * 4096)), &std::free};
}

}  // namespace

Ran run(const std::string& command) {
  char name[] = "/tmp/faulty-out-XXXXXX";
  const int fd = ::mkstemp(name);
  ::close(fd);
  const std::string out = name;
  const std::string err = out + ".err";
  const std::string line = "( " + command + " ) >" + out + " 2>" + err;
  const pid_t child = ::fork();
  if (child == 0) {
    ::execlp("timeout", "timeout", "-k", "5", "60", "sh", "-c", line.c_str(), nullptr);
    ::_exit(127);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  Ran ran{WIFEXITED(status) ? WEXITSTATUS(status) : -1, slurp(out), slurp(err)};
  ::unlink(out.c_str());
  ::unlink(err.c_str());
  return ran;
}

TestDirectory::TestDirectory() {
  char name[] = "/tmp/faulty-test-XXXXXX";
  path_ = ::mkdtemp(name);
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) std::abort();
  cleaner_ = ::fork();
  if (cleaner_ == 0) {
    ::setsid();
    ::dup2(pipe[0], STDIN_FILENO);
    const int null = ::open("/dev/null", O_WRONLY);
    ::dup2(null, STDOUT_FILENO);
    ::dup2(null, STDERR_FILENO);
    ::execlp("sh", "sh", CLEAN_UP, path_.c_str(), FAULTY_DISK, nullptr);
    ::_exit(127);
  }
  ::close(pipe[0]);
  lifeline_ = pipe[1];
}

TestDirectory::~TestDirectory() {
  ::close(lifeline_);
  int status = 0;
  while (::waitpid(cleaner_, &status, 0) < 0 && errno == EINTR) {
  }
  EXPECT_NE(::access(path_.c_str(), F_OK), 0) << path_ << " could not be cleaned up";
}

MountedDisk::MountedDisk(const std::string& mount_options) {
  std::vector<std::byte> chunk(1U << 20U);
  {
    const File image(this->image(), O_RDWR | O_CREAT);
    for (std::uint64_t at = 0; at < kSize; at += chunk.size()) {
      fill(at, chunk);
      EXPECT_EQ(image.write(at, chunk), 0);
    }
  }
  EXPECT_EQ(run("mkdir " + mount_point()).code, 0);
  const Ran mounted = run(FAULTY_DISK " mount " + image() + " " + mount_point() + " " + mount_options);
  EXPECT_EQ(mounted.code, 0) << mounted.err;
  file_ = mount_point() + "/disk";
}

Ran MountedDisk::ask(const std::string& verb, const std::string& rest) const {
  return run(FAULTY_DISK " " + verb + " " + mount_point() + " " + rest);
}

void MountedDisk::must(const std::string& verb, const std::string& rest) const {
  const Ran ran = ask(verb, rest);
  ASSERT_EQ(ran.code, 0) << verb << " " << rest << ": " << ran.err;
}

nlohmann::json MountedDisk::stats() const { return nlohmann::json::parse(ask("stats", "-J").out, nullptr, false); }
nlohmann::json MountedDisk::rules() const {
  return nlohmann::json::parse(ask("list", "-J").out, nullptr, false).at("rules");
}
pid_t MountedDisk::server() const { return stats().at("process").at("pid").get<pid_t>(); }

File::File(const std::string& path, int flags) : fd_(::open(path.c_str(), flags | O_CLOEXEC, 0600)) {
  EXPECT_GE(fd_, 0) << path << ": " << errno;
}
File::~File() { ::close(fd_); }

int File::read(std::uint64_t at, std::span<std::byte> data) const {
  return outcome(::pread(fd_, data.data(), data.size(), static_cast<off_t>(at)), data.size());
}
int File::write(std::uint64_t at, std::span<const std::byte> data) const {
  return outcome(::pwrite(fd_, data.data(), data.size(), static_cast<off_t>(at)), data.size());
}
int File::read_sectors(std::uint64_t first, std::uint64_t count) const {
  const AlignedBuffer buffer = aligned_buffer(count * 512);
  return read(first * 512, {buffer.get(), count * 512});
}
int File::write_sectors(std::uint64_t first, std::uint64_t count, std::byte value) const {
  const AlignedBuffer buffer = aligned_buffer(count * 512);
  std::fill_n(buffer.get(), count * 512, value);
  return write(first * 512, {buffer.get(), count * 512});
}

std::byte original_byte(std::uint64_t at) {
  const std::uint64_t sector = at / 512;
  return static_cast<std::byte>((sector * 131 + (sector >> 8U) * 7 + at % 512 * 3) & 0xffU);
}

std::vector<std::byte> original(std::uint64_t at, std::size_t length) {
  std::vector<std::byte> data(length);
  fill(at, data);
  return data;
}

LoopDevice::LoopDevice(const std::string& file, const std::string& options) {
  const Ran made = run("losetup --find --show " + options + " " + file);
  EXPECT_EQ(made.code, 0) << made.err;
  path_ = made.out.substr(0, made.out.find('\n'));
}

LoopDevice::~LoopDevice() {
  if (path_.starts_with("/dev/loop")) run("losetup -d " + path_);
}

}  // namespace faulty_test
