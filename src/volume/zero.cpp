// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "volume/impl.hpp"

// Discard, write-zeroes and seeking. Everything zeroed reads back as zeros wherever it lives; entries keep their slots.

namespace remapfs {

namespace {
// Requests to the devices stay short enough for others to get a turn.
constexpr std::uint64_t kZeroPiece = 64U << 20U;
}  // namespace

Result<void> Volume::Impl::zero_checked(ByteRange range, bool punch) {
  if (options.read_only) return fail(Errc::read_only);
  if (range.begin > range.end || range.end.value() > size.value()) return fail(Errc::past_end);
  return store_in_pieces(range, kZeroPiece, [&](ByteRange piece, Deadline&) { return zero_piece(piece, punch); });
}

// Of blocks that follow each other and ask for care: together they share commits. At most as many as one request has.
ByteOffset Volume::Impl::end_of_attention(ByteRange range) const {
  range.end = std::min(range.end, geometry.begin_of(geometry.block_of(range.begin)) + kMaxRequestSize);
  ByteOffset end = range.begin;
  table->for_each_run(range, [&](const Run& run) {
    if (run.kind != RunKind::attention) return false;
    end = run.range.end;
    return true;
  });
  return end;
}

Result<void> Volume::Impl::zero_piece(ByteRange range, bool punch) {
  // Written as data are: parts off the grid, slots, and whatever asks for care. So is the time that they have, as many
  // at once as a request may be.
  std::optional<WriteTries> tries;
  ByteOffset tries_end;
  const auto write_zeros = [&](ByteRange part, const std::optional<FailedAccess>& failed) {
    if (!tries || part.begin >= tries_end) {
      tries.emplace(options.request_budget);
      tries_end = geometry.begin_of(geometry.block_of(part.begin)) + kMaxRequestSize;
    }
    part.end = std::min(part.end, tries_end);
    return slow_write(part, nullptr, *tries, failed);
  };

  // Once a part has failed, which may take long, no more is tried at once than is then written block by block.
  bool has_failed = false;
  for (ByteOffset at = range.begin; at < range.end;) {
    const ByteOffset next_end = at < tries_end ? tries_end : at + kMaxRequestSize;
    const ByteRange rest{at, has_failed ? std::min(range.end, next_end) : range.end};
    std::optional<Run> first;
    std::optional<FailedAccess> failed;
    {
      auto pass = gate.enter(geometry.blocks_touching(rest), Deadline(options.block_patience));
      if (!pass) return fail(std::move(pass).error());
      first = first_run(rest);
      Member& primary = *member(0);
      if (first->kind == RunKind::attention) first->range.end = end_of_attention(rest);
      if (first->kind == RunKind::primary) {
        if (primary.breaker_open()) return fail(Errc::suspended);
        const ByteRange whole = aligned_blocks(first->range);
        if (whole.begin != first->range.begin) {
          // The block of the unaligned head alone; what follows it comes next.
          first->range.end = std::min(first->range.end, whole.begin);
        } else if (!whole.empty()) {
          auto done = punch ? primary.device().punch_hole(whole) : primary.device().zero_range(whole);
          if (done) {
            primary.device().note_write();
            at = whole.end;
            continue;
          }
          if (done.error().code == Errc::device_gone) {
            open_breaker(primary, done.error());
            return fail(Errc::suspended);
          }
          if (!is_media_error(done.error())) return done;
          has_failed = true;
          failed = FailedAccess{&primary, whole.begin};
          first->range.end = std::min(whole.end, whole.begin + kMaxRequestSize);
        }
      }
    }
    auto written = write_zeros(first->range, failed);
    if (!written) return fail(std::move(written).error());
    at = *written;
  }
  return {};
}

Result<ByteOffset> Volume::Impl::seek_data(ByteOffset from) {
  if (from.value() >= size.value()) return fail(Errc::past_end);
  // In this order: an entry that goes has left its data on the primary before.
  const auto entry = table->next_entry(geometry.block_of(from), BlockIndex(block_count));
  auto data = share(0)->device().seek_data(from);
  if (!data && data.error().code != Errc::not_found) return data;
  if (!entry) return data;
  const ByteOffset at_entry = std::max(from, geometry.begin_of(*entry));
  return data ? std::min(*data, at_entry) : at_entry;
}

Result<ByteOffset> Volume::Impl::seek_hole(ByteOffset from) {
  if (from.value() >= size.value()) return fail(Errc::past_end);
  for (ByteOffset at = from;;) {
    auto hole = share(0)->device().seek_hole(at);
    if (!hole) return hole;
    if (hole->value() >= size.value()) return ByteOffset(size.value());
    // The end of the disk is a hole; a block with an entry is not, and one that had an entry a moment ago is data now.
    if (!table->find(geometry.block_of(*hole))) {
      auto still = share(0)->device().seek_hole(*hole);
      if (!still || *still == *hole) return still;
      at = *still;
      continue;
    }
    at = geometry.end_of(geometry.block_of(*hole));
    if (at.value() >= size.value()) return ByteOffset(size.value());
  }
}

}  // namespace remapfs
