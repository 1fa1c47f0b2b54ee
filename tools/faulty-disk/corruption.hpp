// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "cells.hpp"

namespace faulty {

// Flips one bit in every 16 bytes of `data`, which holds the bytes of the disk from `from` on. Which bit depends on
// the seed and the place on the disk alone: however a sector is read, the same bytes come back wrong.
void flip_bits(std::uint64_t seed, ByteOffset from, std::span<std::byte> data);

}  // namespace faulty
