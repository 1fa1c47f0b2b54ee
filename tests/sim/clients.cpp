// SPDX-License-Identifier: Apache-2.0
#include "sim/clients.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "remapfs/aligned_buffer.hpp"
#include "sim/scheduler.hpp"
#include "sim/sim_device.hpp"

namespace remapfs::sim {
namespace {

// Bytes of a client: where a transfer can take them as they are, or not, by the seed alone.
class Memory {
 public:
  Memory(Random& random, std::size_t size)
      : buffer_(*AlignedBuffer::allocate(size + kSectorSize)),
        bytes_(buffer_.subspan(random.one_in(3) ? 16 : 0, size)) {}
  [[nodiscard]] std::span<std::byte> bytes() const { return bytes_; }

 private:
  AlignedBuffer buffer_;
  std::span<std::byte> bytes_;
};

template <class Test>
bool any_sector(std::uint64_t offset, std::uint64_t length, Test&& test) {
  for (std::uint64_t s = offset / kSectorSize; s * kSectorSize < offset + length; ++s) {
    if (test(s)) return true;
  }
  return false;
}

}  // namespace

void Clients::run(Random& random, std::function<void()> beside) {
  // What goes on beside them takes its time, and they are to be there.
  const std::uint64_t most_requests = beside ? 15 : 5;
  const std::size_t clients = !beside && random.one_in(2) ? 1 : random.between(2, 5);
  alone_ = clients == 1 && !beside;
  std::vector<std::function<void()>> bodies;
  for (std::size_t i = 0; i < clients; ++i) {
    bodies.emplace_back([this, most_requests, mine = random.fork()]() mutable {
      for (std::uint64_t left = mine.between(1, most_requests); left > 0 && !now_.outcome.failure; --left)
        request(mine);
    });
  }
  if (beside) bodies.push_back(std::move(beside));
  flushed_ = false;
  Scheduler(random()).run(std::move(bodies));
  alone_ = true;
  // What several devices have lost, several flushes at a time may tell of.
  if (flushed_) now_.flush_may_fail = false;
  now_.oracle.forget();
}

void Clients::look_at_everything(bool settle) {
  looking_ = true;
  for (std::uint64_t s = 0; s < now_.shape.sectors() && !now_.outcome.failure; ++s) {
    alignas(kSectorSize) std::array<std::byte, kSectorSize> data;
    if (read(s * kSectorSize, data) && settle) now_.oracle.settled(s * kSectorSize, data);
  }
  looking_ = false;
}

void Clients::request(Random& random) {
  if (now_.world.ended()) return;
  ++now_.outcome.requests;
  const std::uint64_t dice = random.below(100);
  if (dice < 25) {
    const auto [offset, length] = some_range(random, 1);
    Memory data(random, length);
    read(offset, data.bytes());
  } else if (dice < 70) {
    write(random);
  } else if (dice < 78) {
    zero(random);
  } else if (dice < 86) {
    flush();
  } else {
    verb(random);
  }
}

// In whole sectors when others write at the same time: how two writes to one sector mix is up to them.
std::pair<std::uint64_t, std::uint64_t> Clients::some_range(Random& random, std::uint64_t smallest) {
  const std::uint64_t unit = alone_ && random.one_in(3) ? smallest : kSectorSize;
  const std::uint64_t longest = random.one_in(8) ? 12 * now_.shape.block_size : 2 * now_.shape.block_size;
  const std::uint64_t offset = round_down(random.below(now_.shape.disk_bytes), unit);
  const std::uint64_t length = round_up(random.between(1, longest), unit);
  return {offset, std::min(length, now_.shape.disk_bytes - offset)};
}

// True when the bytes were given.
bool Clients::read(std::uint64_t offset, std::span<std::byte> data) {
  const auto begun = now_.oracle.now();
  const bool lost =
      alone_ && any_sector(offset, data.size(), [this](std::uint64_t s) { return now_.plant.surely_lost(s); });
  const auto got = read_either_way(offset, data);
  if (!looking_ || !got) now_.trace_request("read", offset, data.size(), got);
  if (now_.world.ended()) return false;
  if (got) {
    if (*got != data.size()) now_.broken(fmt::format("a short read at {}+{}", offset, data.size()));
    if (lost)
      now_.broken(fmt::format("reading {}+{} succeeded, of which the map says that it is lost", offset, data.size()));
    if (auto wrong = now_.oracle.check_read(begun, offset, data)) now_.broken(*wrong);
    return true;
  }
  if (!now_.may_happen(got.error()) &&
      !any_sector(offset, data.size(), [&](std::uint64_t s) { return now_.troubles.may_be_unreadable(s, begun); })) {
    now_.broken(fmt::format("reading {}+{} failed without a reason: {}", offset, data.size(), describe(got.error())));
  }
  return false;
}

void Clients::write(Random& random) {
  auto [offset, length] = some_range(random, 1);
  const std::uint64_t begin = round_down(offset, kSectorSize);
  const std::uint64_t end = round_up(offset + length, kSectorSize);
  Memory memory(random, end - begin);
  const std::span<std::byte> sectors = memory.bytes();
  random.fill(sectors);
  // What a part of a sector leaves alone has to be known.
  const Oracle::Content* const head = now_.oracle.certain(begin / kSectorSize);
  const Oracle::Content* const tail = now_.oracle.certain(end / kSectorSize - 1);
  const bool known = head != nullptr && tail != nullptr;
  if (known && offset > begin) std::memcpy(sectors.data(), head->data(), offset - begin);
  if (known && offset + length < end) {
    const std::uint64_t inside = kSectorSize - (end - offset - length);
    std::memcpy(sectors.data() + sectors.size() - (kSectorSize - inside), tail->data() + inside, kSectorSize - inside);
  }
  if (!known) {
    offset = begin;
    length = end - begin;
  }
  change(offset, length, sectors,
         [&](ByteRange range) { return write_either_way(range, sectors.subspan(offset - begin, length)); });
}

void Clients::write_block(Random& random, BlockIndex block) {
  const std::uint64_t offset = block.value() * now_.shape.block_size;
  Memory memory(random, std::min(now_.shape.block_size, now_.shape.disk_bytes - offset));
  const std::span<std::byte> sectors = memory.bytes();
  random.fill(sectors);
  change(offset, sectors.size(), sectors, [&](ByteRange range) { return write_either_way(range, sectors); });
}

// As an engine does that transfers past the volume, on the devices' descriptors. Nothing: the volume wants it
// otherwise.
std::optional<Result<void>> Clients::transfer(ByteRange range, std::span<std::byte> memory, bool write) {
  if (now_.world.random().one_in(2)) return std::nullopt;
  Volume& volume = *now_.plant.volume;
  DirectAccess access;
  if (!volume.begin(access, range, memory.data(), write)) return std::nullopt;
  for (DirectAccess::Part& part : access.all()) {
    SimDevice device(now_.plant.disk_named(part.device->name()), now_.world);
    const auto place = memory.subspan(distance(range.begin, part.range.begin).value(), part.range.size().value());
    const auto carried_out = write ? device.write_all(part.native, place) : device.read_exact(part.native, place);
    part.done = carried_out.has_value();
    if (!carried_out) part.error = carried_out.error();
  }
  return volume.end(access) ? Result<void>() : volume.recover(access, memory.data());
}

Result<std::size_t> Clients::read_either_way(std::uint64_t offset, std::span<std::byte> data) {
  const auto done = transfer({ByteOffset(offset), ByteOffset(offset + data.size())}, data, /*write=*/false);
  if (!done) return now_.plant.volume->read(ByteOffset(offset), data);
  return *done ? Result<std::size_t>(data.size()) : fail(done->error());
}

Result<void> Clients::write_either_way(ByteRange range, std::span<std::byte> data) {
  const auto done = transfer(range, data, /*write=*/true);
  return done ? *done : now_.plant.volume->write(range.begin, data);
}

void Clients::zero(Random& random) {
  const auto [offset, length] = some_range(random, kSectorSize);
  const std::vector<std::byte> sectors(length);
  const bool punch = now_.plant.volume->can_punch() && random.one_in(2);
  change(offset, length, sectors,
         [&](ByteRange range) { return punch ? now_.plant.volume->punch(range) : now_.plant.volume->zero(range); });
}

template <class CarryOut>
void Clients::change(std::uint64_t offset, std::uint64_t length, std::span<const std::byte> sectors,
                     CarryOut&& carry_out) {
  const std::uint64_t begin = round_down(offset, kSectorSize);
  const auto asked = now_.oracle.begin_write(begin, sectors);
  const Result<void> done = carry_out({ByteOffset(offset), ByteOffset(offset + length)});
  now_.trace_request("change", offset, length, done);
  now_.oracle.end_write(asked, done && !now_.world.ended());
  if (now_.world.ended()) return;
  if (!done) return failed_to_change(asked.begun, offset, length, done.error());
  const auto changed = now_.oracle.now();
  for (std::uint64_t s = (offset + kSectorSize - 1) / kSectorSize; (s + 1) * kSectorSize <= offset + length; ++s) {
    if (!now_.plant.surely_remapped(s) && now_.troubles.fails_to_read(s)) {
      now_.troubles.excuse(s);
    } else {
      now_.troubles.excuse_no_more(s, changed);
    }
  }
}

// A change may fail where it cuts something that cannot be read, or where a block would need a slot and gets none.
void Clients::failed_to_change(Oracle::Moment begun, std::uint64_t offset, std::uint64_t length, const Error& error) {
  if (now_.may_happen(error)) return;
  const std::uint64_t unit = std::max<std::uint64_t>(now_.shape.logical_block, kSectorSize);
  const bool cuts = cuts_excused(begun, round_down(offset, unit), offset) ||
                    cuts_excused(begun, round_down(offset + length, unit), offset + length);
  const std::uint64_t blocks_end = std::min(round_up(offset + length, now_.shape.block_size), now_.shape.disk_bytes);
  const std::uint64_t blocks_begin = round_down(offset, now_.shape.block_size);
  const bool may_need_slots = any_sector(blocks_begin, blocks_end - blocks_begin, [&](std::uint64_t s) {
    return s < now_.shape.sectors_that_may_fail() || now_.troubles.excused(s, begun);
  });
  const bool no_slots = now_.plant.volume->status().slots_free == 0 || error.code == Errc::no_space;
  if (cuts || (may_need_slots && no_slots) || now_.troubles.ever_on_spare()) return;
  now_.broken(fmt::format("changing {}+{} failed without a reason: {}", offset, length, describe(error)));
}

// The unit that begins there is cut by `at`, and some of it may be unreadable.
bool Clients::cuts_excused(Oracle::Moment begun, std::uint64_t unit_begin, std::uint64_t at) const {
  const std::uint64_t unit = std::max<std::uint64_t>(now_.shape.logical_block, kSectorSize);
  if (unit_begin == at) return false;
  return any_sector(unit_begin, std::min(unit, now_.shape.disk_bytes - unit_begin),
                    [&](std::uint64_t s) { return now_.troubles.may_be_unreadable(s, begun); });
}

void Clients::flush() {
  const auto begun = now_.oracle.now();
  const auto done = now_.plant.volume->flush();
  now_.trace_request("flush", 0, 0, done);
  if (!done || alone_) now_.flush_failed = !done;
  if (done && !now_.world.ended()) return now_.oracle.flushed(begun);
  now_.oracle.doubt();
  if (now_.world.ended()) return;
  if (!now_.disturbed && !now_.flush_may_fail) now_.broken("flush failed without a reason: " + describe(done.error()));
  flushed_ = true;
}

void Clients::verb(Random& random) {
  const BlockIndex block(random_block(random));
  const std::uint64_t dice = random.below(14);
  if (dice < 4) {
    add(block);
  } else if (dice < 8) {
    remove(block);
  } else if (dice < 9 && alone_) {
    block.value() % 2 == 0 ? mark_lost(block) : import_from(block);
  } else if (dice < 10) {
    now_.trace_request("clear-lost of block", block.value(), 1, now_.plant.volume->clear_lost(block));
  } else if (dice >= 12) {
    ScrubFindings found;
    const std::uint64_t blocks = 1 + random.below(64);
    now_.trace_request("scrub from block", block.value(), blocks, now_.plant.volume->scrub(block, blocks, found));
  } else {
    now_.trace_request("retest of block", block.value(), 1, now_.plant.volume->retest(block));
  }
}

void Clients::add(BlockIndex block) {
  const auto added = now_.plant.volume->add(block);
  now_.trace_request("add of block", block.value(), 1, added);
  if (now_.world.ended() || !alone_ || !added || *added != remapfs::Outcome::done) return;
  if (!now_.plant.surely_remapped(block.value() * now_.shape.sectors_per_block()))
    now_.broken("a block was added, but not in the map");
  const auto moved = now_.oracle.now();
  now_.shape.for_sectors(block, [&](std::uint64_t s) { now_.troubles.excuse_no_more(s, moved); });
}

void Clients::remove(BlockIndex block) {
  const auto removed = now_.plant.volume->remove(block);
  now_.trace_request("remove of block", block.value(), 1, removed);
  if (now_.world.ended() || !removed) return;
  if (alone_ && now_.plant.perhaps_remapped(block.value() * now_.shape.sectors_per_block()))
    now_.broken("a block was removed, but not from the map");
  now_.troubles.returned(block);
}

void Clients::mark_lost(BlockIndex block) {
  now_.shape.for_sectors(block, [this](std::uint64_t s) { now_.troubles.excuse(s); });
  const auto marked = now_.plant.volume->mark_lost(block);
  now_.trace_request("mark-lost of block", block.value(), 1, marked);
  if (now_.world.ended() || !marked) return;
  now_.shape.for_sectors(block, [this](std::uint64_t s) {
    if (!now_.plant.surely_lost(s)) now_.broken("a block was marked lost, but not in the map");
  });
}

// One sector of the block, all of the next one, and two weak blocks further on.
void Clients::import_from(BlockIndex block) {
  const BlockGeometry geometry(now_.shape.block_size);
  const BlockIndex end_of_disk(geometry.blocks_in(ByteCount(now_.shape.disk_bytes)));
  std::vector<ImportRun> runs;
  const auto list = [&](std::uint64_t first, std::uint64_t last, SectorMask lost) {
    const BlockRange range{block + first, std::min(block + last, end_of_disk)};
    if (!range.empty()) runs.push_back({range, lost});
  };
  list(0, 1, 1);
  list(1, 2, geometry.full_mask());
  list(300, 302, 0);
  for (const ImportRun& run : runs) {
    if (now_.plant.observed.rows.contains(run.blocks.begin.value())) continue;
    now_.shape.for_sectors(run.blocks.begin, [&, sector = 0U](std::uint64_t s) mutable {
      if ((run.lost >> sector++ & 1U) != 0) now_.troubles.excuse(s);
    });
  }
  ImportCounts counts;
  now_.trace_request("import from block", block.value(), 1, now_.plant.volume->import_entries(runs, counts));
}

std::uint64_t Clients::random_block(Random& random) const {
  const BlockGeometry geometry(now_.shape.block_size);
  const std::uint64_t block = random.below(geometry.blocks_in(ByteCount(now_.shape.disk_bytes)));
  if (now_.plant.observed.rows.empty() || random.one_in(3)) return block;
  const auto row = now_.plant.observed.rows.lower_bound(block);
  return row == now_.plant.observed.rows.end() ? now_.plant.observed.rows.begin()->first : row->first;
}

}  // namespace remapfs::sim
