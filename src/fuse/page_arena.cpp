// SPDX-License-Identifier: Apache-2.0
#include "fuse/page_arena.hpp"

#include <algorithm>
#include <bit>
#include <utility>

#include "remapfs/units.hpp"

namespace remapfs::fuse {

namespace {
constexpr std::size_t kBits = 64;
}  // namespace

Result<PageArena> PageArena::create(std::size_t bytes) {
  auto memory = PageBuffer::allocate(bytes);
  if (!memory) return fail(memory.error());
  return PageArena(std::move(*memory));
}

PageArena::PageArena(PageBuffer memory)
    : memory_(std::move(memory)),
      pages_(memory_.bytes().size() / payload_offset()),
      taken_((pages_ + kBits - 1) / kBits),
      hole_end_(pages_) {}

template <bool kTaken>
std::size_t PageArena::next(std::size_t from) const {
  for (std::size_t word = from / kBits; word < taken_.size(); ++word) {
    std::uint64_t bits = kTaken ? taken_[word] : ~taken_[word];
    if (word == from / kBits) bits &= ~std::uint64_t{0} << (from % kBits);
    if (bits != 0) return std::min(pages_, word * kBits + static_cast<std::size_t>(std::countr_zero(bits)));
  }
  return pages_;
}

bool PageArena::find_hole(std::size_t begin, std::size_t end) {
  const std::size_t needed = request_room() / payload_offset();
  while (begin < end) {
    begin = next<false>(begin);
    const std::size_t stop = next<true>(begin);
    if (stop - begin >= needed) {
      hole_begin_ = begin;
      hole_end_ = stop;
      return true;
    }
    begin = std::max(stop, begin + 1);
  }
  return false;
}

std::span<std::byte> PageArena::room() {
  const std::size_t page = payload_offset();
  if ((hole_end_ - hole_begin_) * page < request_room()) {
    // Onwards from the last request, whose older ones are likely to be done where the search starts over.
    if (!find_hole(hole_begin_, pages_) && !find_hole(0, hole_begin_)) return {};
  }
  return memory_.bytes().subspan(hole_begin_ * page, request_room());
}

PageArena::Area PageArena::take(std::size_t used) {
  const Area area{static_cast<std::uint32_t>(hole_begin_),
                  static_cast<std::uint32_t>((used + payload_offset() - 1) / payload_offset())};
  REMAPFS_INVARIANT(area.first + area.count <= hole_end_);
  for (std::size_t i = area.first; i < area.first + area.count; ++i)
    taken_[i / kBits] |= std::uint64_t{1} << (i % kBits);
  hole_begin_ += area.count;
  return area;
}

void PageArena::give_back(Area area) {
  for (std::size_t i = area.first; i < area.first + area.count; ++i) {
    taken_[i / kBits] &= ~(std::uint64_t{1} << (i % kBits));
  }
}

}  // namespace remapfs::fuse
