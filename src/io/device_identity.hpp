// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "io/sysfs.hpp"
#include "remapfs/error.hpp"
#include "remapfs/units.hpp"

namespace remapfs {

// By what a member is recognised at the next mount.
//
// Compared: the size always; the WWN if both sides have one, else the serial if both have one; the start of a
// partition on its disk if both are partitions. Not compared, since they change without the member changing: path,
// device numbers, inode (a file may have been copied), and whether it is a file or a disk (an image may have been
// written to a disk of exactly its size).
struct DeviceIdentity {
  enum class Kind : std::uint8_t { file, disk };
  Kind kind = Kind::file;
  ByteCount size;                     // rounded down to whole sectors
  std::string wwn;                    // empty: unknown
  std::string serial;                 // empty: unknown
  std::uint64_t partition_start = 0;  // byte on the disk; 0: not a partition
  std::string place;                  // for people: "8:16", or "8:1 inode 12" of a file

  friend bool operator==(const DeviceIdentity&, const DeviceIdentity&) = default;
};

// Identity of what an open descriptor refers to. Errors: device errors; invalid when it is neither file nor device.
[[nodiscard]] Result<DeviceIdentity> identify_device(int fd, const KernelViews& views = {});
// The same by path; opens it for reading for a moment. Errors: also not_found, permission.
[[nodiscard]] Result<DeviceIdentity> identify_device(const std::string& path, const KernelViews& views = {});

// Whether both paths, followed, lead to one file or block device.
[[nodiscard]] bool is_same_device(const std::string& path, const std::string& other);

// When a file was last written, as text to be compared: see BlockDevice::stamp(). Empty: it is no file, or its file
// system may keep times only as long as it is mounted.
[[nodiscard]] std::string file_stamp(int fd);
[[nodiscard]] std::string file_stamp(const std::string& path);

// One line, "kind=disk size=4096 wwn=naa.5000 ...", as the map stores it. Unknown keys are ignored when read back, so
// that newer programs can add some. Errors: corrupt when it is not such a line.
[[nodiscard]] std::string to_line(const DeviceIdentity& identity);
[[nodiscard]] Result<DeviceIdentity> parse_identity(const std::string& line);

// Checks that what is at `path` now is what was recorded. Errors: foreign, with what differs.
[[nodiscard]] Result<void> check_same_device(const DeviceIdentity& recorded, const DeviceIdentity& now,
                                             const std::string& path);

}  // namespace remapfs
