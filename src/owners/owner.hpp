// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "remapfs/units.hpp"

// Whose lost sectors are: which file of which file system on the virtual disk.

namespace remapfs::owners {

// What a file system keeps in a place.
enum class Content : std::uint8_t {
  file,        // contents of a file
  directory,   // names
  link,        // the target of a symbolic link
  attributes,  // extended attributes
  metadata,    // the file system's own: `what` says which
  journal,     // its log
  free,        // nothing
  outside,     // no file system is there
  unknown,     // it cannot be found out: `what` says why
};
[[nodiscard]] std::string_view to_string(Content content);

// Sectors of 512 bytes that follow one another and belong to the same.
struct Owner {
  std::uint64_t first = 0;  // on the disk
  std::uint64_t count = 0;
  Content content = Content::unknown;
  int partition = 0;                    // 0: the file system has the disk to itself
  std::string file_system;              // "ext4"; empty: none
  std::uint64_t inode = 0;              // 0: none
  std::string path;                     // in the file system; empty: it has no name that could be found
  std::optional<std::uint64_t> offset;  // of the first byte in the file
  std::string what;
};

// A file system on the disk.
struct FileSystem {
  int partition = 0;
  ByteRange range;
  std::string type;  // as blkid(8) names it
};

// Runs of sectors on the disk, ascending, apart from one another.
struct SectorRun {
  std::uint64_t first = 0;
  std::uint64_t count = 0;
};

// Puts neighbours of one owner together; what lies in one file stays apart where its offset does not go on.
[[nodiscard]] std::vector<Owner> merged(std::vector<Owner> owners);

}  // namespace remapfs::owners
