// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <iosfwd>
#include <string>
#include <vector>

#include "cli/output_file.hpp"
#include "remapfs/error.hpp"
#include "remapfs/map_store.hpp"

// Files that commands make for people and other programs.

namespace remapfs::cli {

// Writes everything to the stream; errors of the stream are kept in it.
using WriteOutput = std::function<Result<void>(std::ostream&)>;

// The files of a volume: map, log, devices.
[[nodiscard]] std::vector<std::string> paths_of(const VolumeInfo& info);

// Makes the file as a whole, or not at all. ours: what it must not replace, by whatever path: a slip of the hand is not
// to put a list in the place of a part of the volume. Errors: exists, those of OutputFile and of write.
Result<void> write_output(const std::string& name, const std::vector<std::string>& ours, const WriteOutput& write,
                          Readers readers = Readers::owner);

}  // namespace remapfs::cli
