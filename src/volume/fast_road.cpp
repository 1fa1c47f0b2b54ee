// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>

#include "volume/impl.hpp"

namespace remapfs {

namespace {
// Runs are gathered first and served after the table is left: its readers must not wait for devices.
struct RunList {
  static constexpr std::size_t kMost = 32;
  std::array<Run, kMost> runs;
  std::size_t count = 0;
};
}  // namespace

bool Volume::Impl::end_aligned(ByteOffset end) const {
  return is_aligned(end.value(), io_alignment) || (end.value() == size.value() && odd_end_fits);
}

bool Volume::Impl::io_aligned(ByteRange range, const void* memory) const {
  return is_aligned(range.begin.value(), io_alignment) && end_aligned(range.end) &&
         is_aligned(reinterpret_cast<std::uintptr_t>(memory), memory_alignment);
}

Run Volume::Impl::first_run(ByteRange range) const {
  Run first;
  table->for_each_run(range, [&](const Run& run) {
    first = run;
    return false;
  });
  return first;
}

ByteOffset Volume::Impl::place_of(const Run& run) const {
  if (run.kind != RunKind::slot) return run.range.begin;
  return slot_offset(run.first_slot) + geometry.offset_in_block(run.range.begin);
}

void Volume::Impl::note_success(Member& member, ByteOffset at, bool write) {
  thread_local unsigned sampled = 0;
  if ((sampled++ & 63U) == 0) member.note_good(at);
  if (write) member.device().note_write();
}

// access(member, device offset, range) transfers one run; `range` is on the virtual disk.
template <class Access>
std::optional<Volume::Impl::Trouble> Volume::Impl::serve_runs(ByteRange range, bool write, Access&& access) {
  auto pass = gate.enter(geometry.blocks_touching(range), Deadline(options.block_patience));
  if (!pass) return Trouble{range, {}, std::move(pass).error()};

  while (!range.empty()) {
    RunList list;
    table->for_each_run(range, [&](const Run& run) {
      list.runs[list.count++] = run;
      return list.count < RunList::kMost && run.kind != RunKind::attention;
    });
    for (std::size_t i = 0; i < list.count; ++i) {
      const Run& run = list.runs[i];
      if (run.kind == RunKind::attention) return Trouble{run.range, {}, {}};
      Member* target = member(run.kind == RunKind::slot ? run.first_slot.spare : SpareId{0});
      if (target->missing() || target->breaker_open()) {
        return Trouble{run.range, {}, Error{target->missing() ? Errc::device_gone : Errc::suspended, 0, {}}};
      }
      const ByteOffset at = place_of(run);
      const Result<void> done = access(*target, at, run.range);
      if (!done) {
        if (is_media_error(done.error())) return Trouble{run.range, FailedAccess{target, at}, {}};
        if (done.error().code == Errc::device_gone) {
          open_breaker(*target, done.error());
          return Trouble{run.range, {}, Error{Errc::suspended, 0, {}}};
        }
        return Trouble{run.range, {}, done.error()};
      }
      note_success(*target, at, write);
      range.begin = run.range.end;
    }
  }
  return std::nullopt;
}

std::optional<Volume::Impl::Trouble> Volume::Impl::fast_read(ByteRange range, std::byte* out) {
  return serve_runs(range, false, [&](Member& target, ByteOffset at, ByteRange part) {
    return target.device().read_exact(at, {out + distance(range.begin, part.begin).value(), part.size().value()});
  });
}

std::optional<Volume::Impl::Trouble> Volume::Impl::fast_write(ByteRange range, const std::byte* data) {
  return serve_runs(range, true, [&](Member& target, ByteOffset at, ByteRange part) {
    return target.device().write_all(at, {data + distance(range.begin, part.begin).value(), part.size().value()});
  });
}

Result<void> Volume::Impl::read_request(ByteRange range, std::byte* out, Deadline& deadline) {
  if (!io_aligned(range, out)) return read_unaligned(range, out, deadline);
  RetryTime retries(options.request_budget);
  std::optional<Error> first_error;
  for (ByteRange rest = range; !rest.empty();) {
    const auto trouble = fast_read(rest, out + distance(range.begin, rest.begin).value());
    if (!trouble) break;
    if (trouble->fatal) return fail(*trouble->fatal);
    std::byte* place = out + distance(range.begin, trouble->range.begin).value();
    if (auto slow = slow_read(trouble->range, place, retries.deadline(), trouble->failed); !slow) {
      // The rest is still read after a lost sector, so that one request finds all that is lost in it.
      if (slow.error().code != Errc::lost) return slow;
      first_error = std::move(slow).error();
    }
    rest.begin = trouble->range.end;
  }
  if (first_error) return fail(std::move(*first_error));
  return {};
}

Result<void> Volume::Impl::read_unaligned(ByteRange range, std::byte* out, Deadline& deadline) {
  const ByteRange wide{ByteOffset(round_down(range.begin.value(), io_alignment)),
                       ByteOffset(std::min(round_up(range.end.value(), io_alignment), size.value()))};
  if (!end_aligned(wide.end)) return slow_read(range, out, deadline, {});
  std::optional<Trouble> trouble;
  {
    const auto scratch = scratches->take(wide.size().value());
    trouble = fast_read(wide, scratch.main().data());
    if (!trouble) {
      std::memcpy(out, scratch.main().data() + distance(wide.begin, range.begin).value(), range.size().value());
      return {};
    }
  }
  if (trouble->fatal) return fail(*trouble->fatal);
  // The slow road reads exactly what was asked for: a lost neighbour must not fail the request.
  RetryTime retries(options.request_budget);
  return slow_read(range, out, retries.deadline(), trouble->failed);
}

// Ends that are off the grid are read-modify-write under the hold of their block, as wide as the block: no block is
// written twice for one request, or its second write could lose what the first one acknowledges.
ByteRange Volume::Impl::aligned_blocks(ByteRange range) const {
  ByteRange middle = range;
  if (!is_aligned(range.begin.value(), io_alignment)) middle.begin = geometry.end_of(geometry.block_of(range.begin));
  if (!end_aligned(range.end)) {
    middle.end = geometry.begin_of(geometry.block_of(range.end));
  }
  return middle;
}

Result<void> Volume::Impl::write_request(ByteRange range, const std::byte* data, WriteTries& tries) {
  const auto data_at = [&](ByteOffset at) { return data + distance(range.begin, at).value(); };

  const ByteRange middle = aligned_blocks(range);
  if (middle.empty()) return slow_write_all(range, data, tries);
  if (range.begin < middle.begin) {
    if (auto head = slow_write_all({range.begin, middle.begin}, data, tries); !head) return head;
  }
  if (middle.end < range.end) {
    if (auto tail = slow_write_all({middle.end, range.end}, data_at(middle.end), tries); !tail) return tail;
  }

  for (ByteRange rest = middle; !rest.empty();) {
    std::optional<Trouble> trouble;
    if (io_aligned(rest, data_at(rest.begin))) {
      trouble = fast_write(rest, data_at(rest.begin));
    } else {
      const auto scratch = scratches->take(rest.size().value());
      std::memcpy(scratch.main().data(), data_at(rest.begin), rest.size().value());
      trouble = fast_write(rest, scratch.main().data());
    }
    if (!trouble) break;
    if (trouble->fatal) return fail(*trouble->fatal);
    auto slow = slow_write(trouble->range, data_at(trouble->range.begin), tries, trouble->failed);
    if (!slow) return fail(std::move(slow).error());
    rest.begin = *slow;
  }
  return {};
}

RequestCounters& Volume::Impl::my_counters() {
  static std::atomic<std::size_t> next_line{0};
  thread_local const std::size_t line = next_line.fetch_add(1, std::memory_order_relaxed) % VolumeMemory::kCounterLines;
  return remembered.counters[line];
}

Result<std::size_t> Volume::read(ByteOffset offset, std::span<std::byte> buffer) {
  auto& counters = impl_->my_counters();
  counters.reads.fetch_add(1, std::memory_order_relaxed);
  if (offset.value() >= impl_->size.value()) return std::size_t{0};
  const std::size_t length = std::min<std::uint64_t>(buffer.size(), impl_->size.value() - offset.value());
  for (std::size_t done = 0; done < length;) {
    const std::size_t piece = std::min<std::size_t>(length - done, kMaxRequestSize);
    const ByteRange range{offset + done, offset + done + piece};
    auto result = impl_->retry_after_resume(
        false, [&](Deadline& deadline) { return impl_->read_request(range, buffer.data() + done, deadline); });
    if (!result) {
      counters.read_errors.fetch_add(1, std::memory_order_relaxed);
      return fail(std::move(result).error());
    }
    done += piece;
  }
  return length;
}

Result<void> Volume::write(ByteOffset offset, std::span<const std::byte> data) {
  auto& counters = impl_->my_counters();
  counters.writes.fetch_add(1, std::memory_order_relaxed);
  auto checked = [&]() -> Result<void> {
    if (impl_->options.read_only) return fail(Errc::read_only);
    if (offset.value() > impl_->size.value() || data.size() > impl_->size.value() - offset.value()) {
      return fail(Errc::past_end);
    }
    return impl_->store_in_pieces({offset, offset + data.size()}, kMaxRequestSize, [&](ByteRange piece, Deadline&) {
      WriteTries tries(impl_->options.request_budget);
      return impl_->write_request(piece, data.data() + (piece.begin.value() - offset.value()), tries);
    });
  }();
  if (!checked) counters.write_errors.fetch_add(1, std::memory_order_relaxed);
  return checked;
}

}  // namespace remapfs
