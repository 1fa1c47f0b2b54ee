// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "remapfs/block_device.hpp"
#include "remapfs/error.hpp"
#include "remapfs/map_store.hpp"

namespace remapfs::testing {

// Puts `count` entries into the map of an unmounted volume with one spare, through the store itself: rows, tags,
// sequences and digests are those of an ordinary life. entry(i) makes the i-th; blocks ascend.
//
// Cost: about 10 us an entry. Errors: those of the store.
Result<void> add_entries(const std::string& map_path, std::uint64_t count,
                         const std::function<RemapRow(std::uint64_t)>& entry);
// The same with the spare given, wherever the map says it is.
Result<void> add_entries(const std::string& map_path, BlockDevice& spare, std::uint64_t count,
                         const std::function<RemapRow(std::uint64_t)>& entry);

}  // namespace remapfs::testing
