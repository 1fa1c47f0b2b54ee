// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "volume/replacement.hpp"

// What a replacement of the primary copies while requests go on.

namespace remapfs {

namespace {

constexpr std::chrono::seconds kLongestCopyStep{1};

}  // namespace

Result<void> Volume::Impl::Replacement::write(ByteOffset at, std::span<const std::byte> data) {
  auto written = next_.device->write_all(at, data);
  if (written) return {};
  new_device_failed_ = true;
  return fail(written.error().code,
              fmt::format("the new device cannot be written, {}, byte {} ({}), use another one", next_.record.path,
                          at.value(), describe(written.error())),
              written.error().os_errno);
}

// A granule may be longer than a buffer.
ByteRange Volume::Impl::Replacement::piece_of(ByteRange range) {
  return {range.begin, std::min(range.end, range.begin + kMaxRequestSize)};
}

Result<ByteRange> Volume::Impl::Replacement::copy_fast(ByteRange range) {
  const auto scratch = volume_.scratches->take();
  while (!range.empty()) {
    Run run;
    std::span<std::byte> bytes;
    bool read = false;
    {
      // As a request: a device is opened again only while nobody is inside.
      const auto pass = volume_.gate.enter(volume_.geometry.blocks_touching(piece_of(range)),
                                           Deadline(volume_.options.request_budget));
      if (!pass) return fail(Errc::busy, "blocks are in use for too long, the primary, see what hangs");
      run = volume_.first_run(piece_of(range));
      bytes = scratch.main().first(run.range.size().value());
      read = run.kind == RunKind::primary && old_->device().read_exact(run.range.begin, bytes);
    }
    range.begin = run.range.end;
    if (run.kind == RunKind::slot) continue;
    if (!read) return run.range;
    if (auto written = write(run.range.begin, bytes); !written) return fail(std::move(written).error());
  }
  return ByteRange{range.end, range.end};
}

Result<void> Volume::Impl::Replacement::copy_valid(const HeldBlock& held, std::span<std::byte> buffer) {
  const auto content = volume_.block_content(held, held.valid, buffer).first(held.place.used);
  return write(volume_.geometry.begin_of(held.block), content);
}

Result<void> Volume::Impl::Replacement::copy_with_care(BlockIndex block) {
  auto copied = volume_.with_block(
      block, volume_.care_times(),
      [&](const HeldBlock& held, const ScratchPool::Scratch& scratch, const Deadline& deadline,
          Batch& batch) -> Result<Outcome> {
        if (held.has_slot() || held.valid == 0) return Outcome::already;
        const auto buffer = scratch.main().first(volume_.geometry.block_size());
        // What cannot be read now is left behind for good.
        held.member->forget_probe(false);
        const auto reading = volume_.read_valid(held, held.valid, buffer, scratch.aside(), deadline, batch);
        // What is left of it counts once the row says so, which marks it.
        if (!reading && reading.error().code == Errc::lost) return Outcome::still_bad;
        if (!reading) return fail(reading.error());
        if (auto done = copy_valid(held, buffer); !done) return fail(std::move(done).error());
        if (reading->retried && !held.mapping) {
          std::ignore = volume_.move_weak(held, *reading, buffer, scratch.aside(), deadline, batch);
        }
        return Outcome::done;
      });
  if (copied) return {};
  if (volume_.is_unfinished(block)) return fail(Errc::suspended);
  if (copied.error().code != Errc::deadline && copied.error().code != Errc::failed) {
    return fail(std::move(copied).error());
  }
  return fail(
      copied.error().code,
      fmt::format("block {} cannot be read in time or answers nothing until remount, {}, remapfs mark-lost gives "
                  "it up",
                  block.value(), old_->device().name()));
}

Result<ByteOffset> Volume::Impl::Replacement::copy_stretch(ByteRange range) {
  const auto begun = std::chrono::steady_clock::now();
  const ByteOffset begin = range.begin;
  Result<void> done;
  while (done && !range.empty()) {
    auto careful = copy_fast(range);
    if (!careful) {
      done = fail(careful.error());
      break;
    }
    if (careful->empty()) break;
    const auto care_begun = std::chrono::steady_clock::now();
    for (BlockIndex block = volume_.geometry.block_of(careful->begin);
         done && volume_.geometry.begin_of(block) < careful->end; ++block) {
      if (volume_.closing) done = fail(Errc::interrupted, "interrupted, the volume is being unmounted");
      if (done) done = copy_with_care(block);
      range.begin = std::min(careful->end, volume_.geometry.end_of(block));
      // On a disk that fails slowly each block may take as long as a request may. The step ends with the granule: what
      // is taken next begins with one.
      if (std::chrono::steady_clock::now() - care_begun < kLongestCopyStep) continue;
      const ByteOffset stop = dirty_.granule_from(range.begin);
      if (stop >= range.end) continue;
      dirty_.mark({stop, range.end});
      range.end = stop;
      careful->end = std::min(careful->end, stop);
    }
  }
  if (!done) {
    // Nothing is lost by copying some of it again.
    dirty_.mark({begin, range.end});
    return fail(std::move(done).error());
  }
  copied_ += distance(begin, range.end).value();
  took_ += std::chrono::steady_clock::now() - begun;
  return range.end;
}

// The next dirty stretch at or behind `from`, which moves on. False: there is none, and `from` begins anew.
Result<bool> Volume::Impl::Replacement::copy_step(ByteOffset& from, std::uint64_t most) {
  const auto range = dirty_.take(from, std::min(most, kMaxRequestSize));
  from = range ? range->end : ByteOffset(0);
  if (!range) return false;
  const auto next = copy_stretch(*range);
  if (!next) return fail(next.error());
  from = *next;
  return true;
}

}  // namespace remapfs
