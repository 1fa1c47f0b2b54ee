// SPDX-License-Identifier: Apache-2.0
#include <cstring>
#include <tuple>

#include "volume/impl.hpp"

// The slow road of reads: an access failed, or an entry asks for care. Every block is held while it is looked at, so
// its entry cannot change between the look and the access.

namespace remapfs {

Result<void> Volume::Impl::slow_read(ByteRange range, std::byte* out, Deadline& deadline,
                                     const std::optional<FailedAccess>& failed) {
  if (deadline.passed()) return fail(Errc::deadline);
  // When the access that failed lay in one block, that block is weak even if it can be read now. In a longer one
  // nothing says which block it was, unless it fails again.
  const bool one_block = geometry.blocks_touching(range).size() == 1;
  const auto reached =
      for_each_held_block(range, deadline, {.settle_matters = false, .ends_in_time = true},
                          [&](const HeldBlock& held, BlockPart part, std::uint64_t at, std::span<std::byte> buffer,
                              std::span<std::byte> aside, Batch& batch) -> Result<void> {
                            const SectorMask wanted = part.touched();
                            if ((wanted & ~held.valid) != 0) return fail(Errc::lost);

                            const auto reading = read_valid(held, wanted, buffer, aside, deadline, batch);
                            if (!reading) return fail(reading.error());
                            std::memcpy(out + at, buffer.data() + part.begin, part.size());

                            // The caller has its data whatever becomes of the block now.
                            const bool blame = failed && one_block && failed->hit(held);
                            if ((reading->retried || blame) && !options.read_only) {
                              std::ignore = move_weak(held, *reading, buffer, aside, deadline, batch);
                            }
                            return {};
                          });
  if (!reached) return fail(reached.error());
  if (*reached < range.end) return fail(Errc::deadline);
  return {};
}

Result<SectorReading> Volume::Impl::read_valid(const HeldBlock& held, SectorMask wanted, std::span<std::byte> buffer,
                                               std::span<std::byte> aside, const Deadline& deadline, Batch& batch) {
  SectorReading reading = read_sectors(held.place, wanted, buffer, deadline);
  if (reading.fatal) return fail(confirm_media(*held.member, *reading.fatal, false, held.on_device(), aside).error());
  const SectorMask bad = reading.bad & held.valid;
  if (bad != 0) {
    if (auto media = confirm_media(*held.member, *reading.media, false, held.on_device(), aside); !media)
      return fail(std::move(media).error());
    if (!options.read_only) {
      stage_lost(held, bad, held.has_slot() ? Cause::slot_error : Cause::read_error, batch);
    }
    return fail(Errc::lost);
  }
  if (reading.deadline_passed) return fail(Errc::deadline);
  return reading;
}

bool Volume::Impl::move_weak(const HeldBlock& held, const SectorReading& reading, std::span<std::byte> buffer,
                             std::span<std::byte> aside, const Deadline& deadline, Batch& batch) {
  const Error error = reading.media.value_or(Error{Errc::media, 0, {}});
  if (!confirm_media(*held.member, error, false, held.on_device(), aside)) return false;
  const SectorMask good = reading.good & held.valid;
  if (stage_relocation(held, good, buffer, aside, deadline, &deadline, Cause::weak_read, batch)) return true;
  stage_weak(held, batch);
  return false;
}

}  // namespace remapfs
