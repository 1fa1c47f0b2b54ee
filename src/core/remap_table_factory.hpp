// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "core/memory_source.hpp"
#include "remapfs/remap_table.hpp"

namespace remapfs {

// Makes tables whose arrays come from another MemorySource, which must outlive them: for tests and for measuring.
struct RemapTableFactory {
  // Like RemapTable::create().
  static Result<std::unique_ptr<RemapTable>> create(std::uint64_t block_count, BlockGeometry geometry,
                                                    MemorySource& memory);
};

}  // namespace remapfs
