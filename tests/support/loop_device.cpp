// SPDX-License-Identifier: Apache-2.0
#include "support/loop_device.hpp"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

namespace remapfs::testing {
namespace {

[[noreturn]] void give_up(const std::string& what) { throw std::system_error(errno, std::generic_category(), what); }

// Closes at the end of the scope and keeps errno.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    const int error = errno;
    if (fd_ >= 0) ::close(fd_);
    errno = error;
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

}  // namespace

LoopDevice::LoopDevice(const std::string& backing_file, const LoopOptions& options) {
  const Descriptor backing(::open(backing_file.c_str(), (options.read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC));
  if (backing.get() < 0) give_up("open " + backing_file);
  const Descriptor control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
  if (control.get() < 0) give_up("open /dev/loop-control");

  loop_config config{};
  config.fd = static_cast<__u32>(backing.get());
  config.block_size = options.sector_size;
  config.info.lo_offset = options.offset;
  if (options.direct_io) config.info.lo_flags |= LO_FLAGS_DIRECT_IO;
  if (options.read_only) config.info.lo_flags |= LO_FLAGS_READ_ONLY;
  if (options.partscan) config.info.lo_flags |= LO_FLAGS_PARTSCAN;
  const std::string name = backing_file.substr(0, LO_NAME_SIZE - 1);
  std::copy(name.begin(), name.end(), config.info.lo_file_name);

  // Others take free devices too; whoever configures one first has it.
  for (int attempt = 0; attempt < 200; ++attempt) {
    const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) give_up("LOOP_CTL_GET_FREE");
    path_ = "/dev/loop" + std::to_string(number);
    Descriptor device(::open(path_.c_str(), (options.read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC));
    if (device.get() < 0) {
      if (errno == EBUSY || errno == ENXIO) continue;
      give_up("open " + path_);
    }
    if (::ioctl(device.get(), LOOP_CONFIGURE, &config) == 0) {
      fd_ = device.release();
      return;
    }
    if (errno != EBUSY) give_up("LOOP_CONFIGURE " + path_ + " over " + backing_file);
    ::usleep(1000);  // the winner of the race is between configuring and being seen as not free
  }
  errno = EBUSY;
  give_up("no free loop device for " + backing_file);
}

LoopDevice::~LoopDevice() { detach(); }

void LoopDevice::refresh_size() {
  if (::ioctl(fd_, LOOP_SET_CAPACITY, 0) != 0) give_up("LOOP_SET_CAPACITY " + path_);
}

void LoopDevice::detach() {
  if (fd_ < 0) return;
  // With other users the kernel detaches when the last of them closes it.
  ::ioctl(fd_, LOOP_CLR_FD, 0);
  ::close(std::exchange(fd_, -1));
}

}  // namespace remapfs::testing
