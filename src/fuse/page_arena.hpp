// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "fuse/session.hpp"
#include "remapfs/error.hpp"

namespace remapfs::fuse {

// Memory for the requests that a worker has in hand: each is received into room for the largest one, and keeps only the
// pages that it turned out to need, until they are given back in whatever order.
//
// Threads: one. Cost: a few nanoseconds while there is room behind the last request; now and then a pass over a bit for
// each page.
class PageArena {
 public:
  // Pages that are taken.
  struct Area {
    std::uint32_t first = 0;
    std::uint32_t count = 0;
  };

  // Errors: no_memory.
  static Result<PageArena> create(std::size_t bytes);

  [[nodiscard]] std::span<std::byte> bytes() const { return memory_.bytes(); }
  // Room for the next request, request_room() long; empty when there is none now. The same until take().
  std::span<std::byte> room();
  // Takes what the request in room() needs: its first `used` bytes.
  Area take(std::size_t used);
  void give_back(Area area);
  // Moves what `area` holds from its page `skip` on as far up as there is room, and gives the area back: what stays for
  // long must not cut the room for requests to pieces. The area itself when there is no room above it.
  Area move_up(Area area, std::uint32_t skip);
  [[nodiscard]] std::byte* begin_of(Area area) const { return memory_.bytes().data() + area.first * page_; }

 private:
  explicit PageArena(PageBuffer memory);
  // The first page from `from` on that is taken, or is free; the number of pages if none.
  template <bool kTaken>
  [[nodiscard]] std::size_t next(std::size_t from) const;
  bool find_hole(std::size_t begin, std::size_t end);
  void mark(Area area, bool taken);

  PageBuffer memory_;
  std::size_t page_;  // bytes
  std::size_t pages_;
  std::vector<std::uint64_t> taken_;  // a bit a page
  std::size_t hole_begin_ = 0;        // free pages that go on at least to hole_end_
  std::size_t hole_end_ = 0;
};

}  // namespace remapfs::fuse
