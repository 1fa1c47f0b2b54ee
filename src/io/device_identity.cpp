// SPDX-License-Identifier: Apache-2.0
#include "io/device_identity.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "core/unique_fd.hpp"
#include "io/errno_class.hpp"
#include "io/proc_files.hpp"

namespace remapfs {
namespace {

// Percent-encodes what would break a line of words: blanks, control characters, '%' and bytes above ASCII.
std::string encode(std::string_view text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > 0x20 && byte < 0x7F && c != '%') {
      out += c;
    } else {
      out += '%';
      out += kHex[byte >> 4U];
      out += kHex[byte & 15U];
    }
  }
  return out;
}

bool decode(std::string_view text, std::string& out) {
  out.clear();
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    unsigned value = 0;
    if (i + 2 >= text.size()) return false;
    const char* const digits = text.data() + i + 1;
    const auto [end, error] = std::from_chars(digits, digits + 2, value, 16);
    if (error != std::errc() || end != digits + 2) return false;
    out += static_cast<char>(value);
    i += 2;
  }
  return true;
}

bool decode(std::string_view text, std::uint64_t& out) {
  const std::optional<std::uint64_t> value = parse_decimal(text);
  out = value.value_or(0);
  return value.has_value();
}

tl::unexpected<Error> differs(const std::string& path, const std::string& what, const std::string& recorded,
                              const std::string& now) {
  return fail(Errc::foreign, "another device, " + path + ": its " + what + " is " + now + " but " + recorded +
                                 " was recorded, give the path of the right one");
}

}  // namespace

Result<DeviceIdentity> identify_device(int fd, const KernelViews& views) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return device_failure(errno);
  DeviceIdentity identity;
  if (S_ISREG(status.st_mode)) {
    identity.kind = DeviceIdentity::Kind::file;
    identity.size = ByteCount(round_down(static_cast<std::uint64_t>(status.st_size), kSectorSize));
    identity.place = device_number_text(status.st_dev) + " inode " + std::to_string(status.st_ino);
    return identity;
  }
  if (!S_ISBLK(status.st_mode)) return fail(Errc::invalid, EINVAL);
  identity.kind = DeviceIdentity::Kind::disk;
  identity.place = device_number_text(status.st_rdev);
  std::uint64_t size = 0;
  if (::ioctl(fd, BLKGETSIZE64, &size) != 0) return device_failure(errno);
  identity.size = ByteCount(round_down(size, kSectorSize));
  if (const auto device = SysfsBlockDevice::find(status.st_rdev, views)) {
    identity.wwn = device->wwn();
    identity.serial = device->serial();
    identity.partition_start = device->start();
  }
  return identity;
}

Result<DeviceIdentity> identify_device(const std::string& path, const KernelViews& views) {
  const auto named = [&path](int error) {
    return fail(classify_open_errno(error), "cannot open, " + path + ": " + std::strerror(error) + ", check the path",
                error);
  };
  struct stat status {};
  // Asked before opening: opening a FIFO or a tape would do something.
  if (::stat(path.c_str(), &status) != 0) return named(errno);
  if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode)) {
    return fail(Errc::invalid, "neither a file nor a block device, " + path + ", give the path of one");
  }
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!fd) return named(errno);
  return identify_device(fd.get(), views);
}

bool is_same_device(const std::string& path, const std::string& other) {
  struct stat a {};
  struct stat b {};
  if (::stat(path.c_str(), &a) != 0 || ::stat(other.c_str(), &b) != 0) return false;
  if (S_ISBLK(a.st_mode) && S_ISBLK(b.st_mode)) return a.st_rdev == b.st_rdev;
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

std::string file_stamp(int fd) {
  struct stat status {};
  struct statfs where {};
  if (::fstat(fd, &status) != 0 || !S_ISREG(status.st_mode) || ::fstatfs(fd, &where) != 0) return {};
  if (where.f_type == FUSE_SUPER_MAGIC) return {};
  return std::to_string(status.st_mtim.tv_sec) + "." + std::to_string(status.st_mtim.tv_nsec);
}

std::string file_stamp(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  return fd ? file_stamp(fd.get()) : std::string();
}

std::string to_line(const DeviceIdentity& identity) {
  std::string line = identity.kind == DeviceIdentity::Kind::file ? "kind=file" : "kind=disk";
  line += " size=" + std::to_string(identity.size.value());
  if (!identity.wwn.empty()) line += " wwn=" + encode(identity.wwn);
  if (!identity.serial.empty()) line += " serial=" + encode(identity.serial);
  if (identity.partition_start != 0) line += " start=" + std::to_string(identity.partition_start);
  if (!identity.place.empty()) line += " place=" + encode(identity.place);
  return line;
}

Result<DeviceIdentity> parse_identity(const std::string& line) {
  const auto corrupt = [&line] {
    return fail(Errc::corrupt, "not a device identity, \"" + line + "\", restore the map from a backup");
  };
  DeviceIdentity identity;
  bool has_kind = false;
  bool has_size = false;
  for (const std::string_view word : split(line, ' ')) {
    const std::size_t equals = word.find('=');
    if (equals == std::string_view::npos) return corrupt();
    const std::string_view key = word.substr(0, equals);
    const std::string_view value = word.substr(equals + 1);
    bool good = true;
    if (key == "kind") {
      has_kind = true;
      good = value == "file" || value == "disk";
      identity.kind = value == "file" ? DeviceIdentity::Kind::file : DeviceIdentity::Kind::disk;
    } else if (key == "size") {
      std::uint64_t size = 0;
      has_size = good = decode(value, size);
      identity.size = ByteCount(size);
    } else if (key == "wwn") {
      good = decode(value, identity.wwn);
    } else if (key == "serial") {
      good = decode(value, identity.serial);
    } else if (key == "start") {
      good = decode(value, identity.partition_start);
    } else if (key == "place") {
      good = decode(value, identity.place);
    }
    if (!good) return corrupt();
  }
  if (!has_kind || !has_size) return corrupt();
  return identity;
}

Result<void> check_same_device(const DeviceIdentity& recorded, const DeviceIdentity& now, const std::string& path) {
  if (recorded.size != now.size) {
    return differs(path, "size in bytes", std::to_string(recorded.size.value()), std::to_string(now.size.value()));
  }
  // The WWN decides alone when both have it: the serial reads differently through different bridges.
  if (!recorded.wwn.empty() && !now.wwn.empty()) {
    if (recorded.wwn != now.wwn) return differs(path, "WWN", recorded.wwn, now.wwn);
  } else if (!recorded.serial.empty() && !now.serial.empty() && recorded.serial != now.serial) {
    return differs(path, "serial number", recorded.serial, now.serial);
  }
  if (recorded.partition_start != 0 && now.partition_start != 0 && recorded.partition_start != now.partition_start) {
    return differs(path, "first byte on the disk", std::to_string(recorded.partition_start),
                   std::to_string(now.partition_start));
  }
  return {};
}

}  // namespace remapfs
