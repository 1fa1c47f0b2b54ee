// SPDX-License-Identifier: Apache-2.0
#include "fuse/page_arena.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
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
      page_(payload_offset()),
      pages_(memory_.bytes().size() / page_),
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
  const std::size_t needed = request_room() / page_;
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
  if ((hole_end_ - hole_begin_) * page_ < request_room()) {
    // Onwards from the last request, whose older ones are likely to be done where the search starts over.
    if (!find_hole(hole_begin_, pages_) && !find_hole(0, hole_begin_)) return {};
  }
  return memory_.bytes().subspan(hole_begin_ * page_, request_room());
}

PageArena::Area PageArena::take(std::size_t used) {
  const Area area{static_cast<std::uint32_t>(hole_begin_), static_cast<std::uint32_t>((used + page_ - 1) / page_)};
  REMAPFS_INVARIANT(area.first + area.count <= hole_end_);
  mark(area, true);
  hole_begin_ += area.count;
  return area;
}

void PageArena::give_back(Area area) { mark(area, false); }

void PageArena::mark(Area area, bool taken) {
  for (std::size_t i = area.first; i < area.first + area.count; ++i) {
    const std::uint64_t bit = std::uint64_t{1} << (i % kBits);
    taken_[i / kBits] = taken ? taken_[i / kBits] | bit : taken_[i / kBits] & ~bit;
  }
}

PageArena::Area PageArena::move_up(Area area, std::uint32_t skip) {
  const std::uint32_t count = area.count - skip;
  std::size_t free = 0;
  for (std::size_t page = pages_; page > area.first + area.count; --page) {
    const bool taken = (taken_[(page - 1) / kBits] >> ((page - 1) % kBits) & 1U) != 0;
    free = taken ? 0 : free + 1;
    if (free < count) continue;
    const Area above{static_cast<std::uint32_t>(page - 1), count};
    std::memcpy(begin_of(above), begin_of(area) + skip * page_, count * page_);
    mark(above, true);
    give_back(area);
    // The room for the next request may have been there.
    hole_end_ = std::max(hole_begin_, std::min<std::size_t>(hole_end_, above.first));
    return above;
  }
  return area;
}

}  // namespace remapfs::fuse
