// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "remapfs/units.hpp"

namespace remapfs {

inline BlockRange blocks(std::uint64_t begin, std::uint64_t end) { return {BlockIndex(begin), BlockIndex(end)}; }

}  // namespace remapfs
