// SPDX-License-Identifier: Apache-2.0
#include "sim/life.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <sstream>
#include <utility>

#include "remapfs/aligned_buffer.hpp"
#include "sim/apart.hpp"
#include "sim/oracle.hpp"
#include "sim/plant.hpp"
#include "sim/scheduler.hpp"
#include "sim/troubles.hpp"

namespace remapfs::sim {
namespace {

using testing::FakeDisk;

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

class Life {
 public:
  Life(const Script& script, bool with_trace)
      : script_(script),
        with_trace_(with_trace),
        shape_(Random(script.seed)),
        bytes_(initial_bytes(shape_, script.seed)),
        plant_(shape_, script.seed ^ 0x5EED, bytes_),
        oracle_(bytes_) {}

  Outcome live() {
    mount();
    for (std::size_t i = 0; i < script_.steps.size() && !outcome_.failure; ++i) {
      outcome_.failed_step = i;
      trace(to_string(script_.steps[i]));
      take(script_.steps[i]);
    }
    if (!outcome_.failure) look_back();
    count_relocations();
    outcome_.proven = plant_.proven;
    return std::move(outcome_);
  }

 private:
  static std::vector<std::byte> initial_bytes(const Shape& shape, std::uint64_t seed) {
    std::vector<std::byte> bytes(shape.disk_bytes);
    Random(seed + 1).fill(bytes);
    return bytes;
  }

  void broken(std::string what) {
    if (!outcome_.failure) outcome_.failure = std::move(what);
  }
  void trace(std::string line) {
    if (with_trace_) outcome_.trace.push_back(std::move(line));
  }
  template <class T>
  void trace_request(const char* what, std::uint64_t where, std::uint64_t length, const Result<T>& result) {
    if (!with_trace_) return;
    outcome_.trace.push_back(fmt::format("  {:3} {} {}+{}: {}{}", oracle_.now(), what, where, length,
                                         result ? "done" : describe(result.error()),
                                         world_.ended() ? ", unheard" : ""));
  }

  // --- Mounting, and what ends it ---

  void count_relocations() {
    if (plant_.volume) outcome_.relocations += plant_.volume->status().relocations;
  }

  // Mounts, as often as the end comes meanwhile.
  void mount() {
    disturbed_ = false;
    auto mounted = plant_.try_mount();
    for (; world_.ended(); mounted = plant_.try_mount()) leave_behind();
    if (!mounted) return broken("the volume cannot be mounted: " + describe(mounted.error()));
    // That a device has been away is forgotten with the process.
    flush_may_fail_ = false;
  }

  // What the end leaves behind.
  void leave_behind() {
    ++outcome_.cuts;
    count_relocations();
    // A sync may have failed that nobody was told of.
    if (disturbed_) oracle_.doubt();
    sync_failed_ = map_failed_ = false;
    const Cut how = world_.how();
    plant_.leave_behind();
    if (auto wrong = plant_.check_spare_alone(/*after_close=*/false)) broken(*wrong);
    if (how == Cut::power) {
      oracle_.lose_power();
      settle_ = true;
    }
    // Recovery may be cut as well.
    if (world_.random().one_in(4)) world_.cut_after(world_.random().between(1, 40), how);
  }

  void begin_again() {
    trace(world_.how() == Cut::power ? "  power is lost" : "  the program is killed");
    leave_behind();
    mount();
    look_after_the_end();
  }

  void look_after_the_end() {
    world_.call_off();
    if (!outcome_.failure) look_at_everything();
    settle_ = false;
  }

  // Reads sector by sector. After a loss of power that shows which content has survived.
  void look_at_everything() {
    looking_ = true;
    for (std::uint64_t s = 0; s < shape_.sectors() && !outcome_.failure; ++s) {
      alignas(kSectorSize) std::array<std::byte, kSectorSize> data;
      if (read(s * kSectorSize, data) && settle_) oracle_.settled(s * kSectorSize, data);
    }
    looking_ = false;
  }

  void look_back() {
    world_.call_off();
    troubles_.end();
    remount();
    if (!outcome_.failure) look_at_everything();
  }

  void remount() {
    if (plant_.volume) {
      count_relocations();
      const auto begun = oracle_.now();
      const auto closed = plant_.volume->close();
      if (world_.ended()) return begin_again();
      if (closed) {
        oracle_.flushed(begun);
      } else {
        oracle_.doubt();
        if (!disturbed_ && !flush_may_fail_) broken("close failed: " + describe(closed.error()));
      }
      plant_.volume.reset();
      if (closed && !disturbed_) look_at_the_map();
    }
    if (sync_failed_) oracle_.doubt();
    sync_failed_ = map_failed_ = false;
    plant_.call_off_failures();
    mount_or_begin_again();
  }

  // Closed in order: map and spare agree in everything, and a map of an earlier life is not taken for this one.
  void look_at_the_map() {
    if (!troubles_.ever_on_spare()) {
      if (auto wrong = plant_.check()) broken(*wrong);
      if (auto wrong = plant_.check_spare_alone(/*after_close=*/true)) broken(*wrong);
    }
    if (auto wrong = plant_.try_earlier_map()) broken(*wrong);
  }

  void mount_or_begin_again() {
    const std::uint64_t cuts = outcome_.cuts;
    mount();
    if (outcome_.cuts != cuts) look_after_the_end();
  }

  // --- Steps ---

  void take(const Step& step) {
    Random random(step.seed);
    if (disturbed_ && random.one_in(3)) remount();
    if (outcome_.failure) return;
    switch (step.kind) {
      case Step::Kind::requests: requests(random); break;
      case Step::Kind::primary_fault: trace(troubles_.fail_primary(random)); break;
      case Step::Kind::primary_healed: troubles_.heal_primary(random); break;
      case Step::Kind::spare_fault: troubles_.toggle_spare(random); break;
      case Step::Kind::sync_failure: fail_sync(random); break;
      case Step::Kind::map_failure: fail_map(random); break;
      case Step::Kind::vanish: vanish(random); break;
      case Step::Kind::slow: slow_down(random); break;
      case Step::Kind::remount: remount(); break;
      case Step::Kind::cut: arm(random); break;
    }
    if (world_.ended()) begin_again();
  }

  void arm(Random& random) {
    const std::uint64_t scale = std::uint64_t{1} << random.between(1, 8);
    world_.cut_after(random.between(1, scale + 1), random.one_in(4) ? Cut::kill : Cut::power);
  }

  void slow_down(Random& random) {
    slow_ = random.one_in(2);
    world_.set_slowness(slow_ ? 20'000 : 1);
  }

  // Errors that are nobody's fault.
  bool may_happen(const Error& error) {
    // The places that are asked whether the device works at all may lie where it does not.
    if (error.code == Errc::suspended && troubles_.on_primary()) disturbed_ = true;
    return disturbed_ || (slow_ && error.code == Errc::deadline);
  }

  void fail_sync(Random& random) {
    (random.one_in(2) ? *plant_.primary : *plant_.spare).fail_syncs(1);
    sync_failed_ = disturbed_ = true;
  }

  void fail_map(Random& random) {
    plant_.files->fail_nth(SimFiles::What::change, random.between(1, 12));
    map_failed_ = disturbed_ = true;
    if (random.one_in(2)) return;
    // Blocks move while that happens, and are written: where they are then nobody may guess, before or after a remount.
    for (int i = 0; i < 4 && !world_.ended(); ++i) {
      const BlockIndex block(random_block(random));
      add(block);
      if (!world_.ended()) write_block(random, block);
    }
    if (!world_.ended()) remount();
  }

  void vanish(Random& random) {
    FakeDisk& disk = random.one_in(2) ? *plant_.primary : *plant_.spare;
    disk.set_outage(testing::Outage::gone);
    disturbed_ = true;
    requests(random);
    if (world_.ended()) {
      disk.set_outage(testing::Outage::none);
      return;
    }
    std::vector<std::optional<Oracle::Content>> acknowledged;
    if (random.one_in(2)) {
      acknowledged = healthy_contents();
      disk.crash(random());
      oracle_.lose_power();
      trace("  it forgets what it had not stored");
    }
    disk.set_outage(testing::Outage::none);
    // A device that nobody asked anything while it was away has not been away.
    const bool noticed = plant_.volume->status().state == VolumeState::suspended;
    const auto resumed = plant_.volume->resume();
    if (world_.ended()) return;
    flush_may_fail_ = true;
    if (!resumed) return trace("  resume: " + describe(resumed.error()));
    disturbed_ = sync_failed_ || map_failed_ || plant_.volume->status().state <= VolumeState::suspended;
    if (!disturbed_ && noticed) tell_of_loss(acknowledged);
  }

  // Of the sectors that always work: what they must hold, where that is certain.
  [[nodiscard]] std::vector<std::optional<Oracle::Content>> healthy_contents() const {
    std::vector<std::optional<Oracle::Content>> contents(shape_.sectors());
    for (std::uint64_t s = shape_.sectors_that_may_fail(); s < shape_.sectors(); ++s) {
      const Oracle::Content* const certain = oracle_.certain(s);
      if (certain != nullptr && !oracle_.in_doubt(s)) contents[s] = *certain;
    }
    return contents;
  }

  // A device that came back without what was acknowledged, and never flushed, is told of by a flush.
  void tell_of_loss(const std::vector<std::optional<Oracle::Content>>& acknowledged) {
    bool lost = false;
    looking_ = true;
    for (std::uint64_t s = 0; s < acknowledged.size() && !outcome_.failure; ++s) {
      alignas(kSectorSize) std::array<std::byte, kSectorSize> data;
      if (acknowledged[s] && read(s * kSectorSize, data)) lost = lost || data != *acknowledged[s];
    }
    looking_ = false;
    if (!lost || world_.ended()) return;
    const auto flushed = plant_.volume->flush();
    if (flushed && !world_.ended()) broken("acknowledged writes were lost with a device, and the next flush succeeded");
    if (flushed || world_.ended()) return;
    oracle_.doubt();
    flush_may_fail_ = false;
  }

  // --- Requests ---

  void requests(Random& random) {
    const std::size_t clients = random.one_in(2) ? 1 : random.between(2, 5);
    alone_ = clients == 1;
    std::vector<std::function<void()>> bodies;
    for (std::size_t i = 0; i < clients; ++i) {
      bodies.emplace_back([this, mine = random.fork()]() mutable {
        for (std::uint64_t left = mine.between(1, 5); left > 0 && !outcome_.failure; --left) request(mine);
      });
    }
    Scheduler(random()).run(std::move(bodies));
    alone_ = true;
    oracle_.forget();
  }

  void request(Random& random) {
    if (world_.ended()) return;
    ++outcome_.requests;
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
  std::pair<std::uint64_t, std::uint64_t> some_range(Random& random, std::uint64_t smallest) {
    const std::uint64_t unit = alone_ && random.one_in(3) ? smallest : kSectorSize;
    const std::uint64_t longest = random.one_in(8) ? 12 * shape_.block_size : 2 * shape_.block_size;
    const std::uint64_t offset = round_down(random.below(shape_.disk_bytes), unit);
    const std::uint64_t length = round_up(random.between(1, longest), unit);
    return {offset, std::min(length, shape_.disk_bytes - offset)};
  }

  // True when the bytes were given.
  bool read(std::uint64_t offset, std::span<std::byte> data) {
    const auto begun = oracle_.now();
    const auto got = plant_.volume->read(ByteOffset(offset), data);
    if (!looking_ || !got) trace_request("read", offset, data.size(), got);
    if (world_.ended()) return false;
    if (got) {
      if (*got != data.size()) broken(fmt::format("a short read at {}+{}", offset, data.size()));
      if (auto wrong = oracle_.check_read(begun, offset, data)) broken(*wrong);
      return true;
    }
    if (!may_happen(got.error()) &&
        !any_sector(offset, data.size(), [this](std::uint64_t s) { return troubles_.may_be_unreadable(s); })) {
      broken(fmt::format("reading {}+{} failed without a reason: {}", offset, data.size(), describe(got.error())));
    }
    return false;
  }

  void write(Random& random) {
    auto [offset, length] = some_range(random, 1);
    const std::uint64_t begin = round_down(offset, kSectorSize);
    const std::uint64_t end = round_up(offset + length, kSectorSize);
    Memory memory(random, end - begin);
    const std::span<std::byte> sectors = memory.bytes();
    random.fill(sectors);
    // What a part of a sector leaves alone has to be known.
    const Oracle::Content* const head = oracle_.certain(begin / kSectorSize);
    const Oracle::Content* const tail = oracle_.certain(end / kSectorSize - 1);
    const bool known = head != nullptr && tail != nullptr;
    if (known && offset > begin) std::memcpy(sectors.data(), head->data(), offset - begin);
    if (known && offset + length < end) {
      const std::uint64_t inside = kSectorSize - (end - offset - length);
      std::memcpy(sectors.data() + sectors.size() - (kSectorSize - inside), tail->data() + inside,
                  kSectorSize - inside);
    }
    if (!known) {
      offset = begin;
      length = end - begin;
    }
    change(offset, length, sectors,
           [&](ByteRange range) { return plant_.volume->write(range.begin, sectors.subspan(offset - begin, length)); });
  }

  void write_block(Random& random, BlockIndex block) {
    const std::uint64_t offset = block.value() * shape_.block_size;
    Memory memory(random, std::min(shape_.block_size, shape_.disk_bytes - offset));
    const std::span<std::byte> sectors = memory.bytes();
    random.fill(sectors);
    change(offset, sectors.size(), sectors,
           [&](ByteRange range) { return plant_.volume->write(range.begin, sectors); });
  }

  void zero(Random& random) {
    const auto [offset, length] = some_range(random, kSectorSize);
    const std::vector<std::byte> sectors(length);
    const bool punch = plant_.volume->can_punch() && random.one_in(2);
    change(offset, length, sectors,
           [&](ByteRange range) { return punch ? plant_.volume->punch(range) : plant_.volume->zero(range); });
  }

  template <class CarryOut>
  void change(std::uint64_t offset, std::uint64_t length, std::span<const std::byte> sectors, CarryOut&& carry_out) {
    const std::uint64_t begin = round_down(offset, kSectorSize);
    const auto asked = oracle_.begin_write(begin, sectors);
    const Result<void> done = carry_out({ByteOffset(offset), ByteOffset(offset + length)});
    trace_request("change", offset, length, done);
    oracle_.end_write(asked, done && !world_.ended());
    if (world_.ended()) return;
    if (!done) return failed_to_change(offset, length, done.error());
    for (std::uint64_t s = (offset + kSectorSize - 1) / kSectorSize; (s + 1) * kSectorSize <= offset + length; ++s) {
      troubles_.excuse(s, !plant_.remapped(s) && troubles_.fails_to_read(s));
    }
  }

  // A change may fail where it cuts something that cannot be read, or where a block would need a slot and gets none.
  void failed_to_change(std::uint64_t offset, std::uint64_t length, const Error& error) {
    if (may_happen(error)) return;
    const std::uint64_t unit = std::max<std::uint64_t>(shape_.logical_block, kSectorSize);
    const bool cuts = cuts_excused(round_down(offset, unit), offset) ||
                      cuts_excused(round_down(offset + length, unit), offset + length);
    const std::uint64_t blocks_end = std::min(round_up(offset + length, shape_.block_size), shape_.disk_bytes);
    const std::uint64_t blocks_begin = round_down(offset, shape_.block_size);
    const bool may_need_slots = any_sector(blocks_begin, blocks_end - blocks_begin, [this](std::uint64_t s) {
      return s < shape_.sectors_that_may_fail() || troubles_.excused(s);
    });
    const bool no_slots = plant_.volume->status().slots_free == 0 || error.code == Errc::no_space;
    if (cuts || (may_need_slots && no_slots) || troubles_.ever_on_spare()) return;
    broken(fmt::format("changing {}+{} failed without a reason: {}", offset, length, describe(error)));
  }

  // The unit that begins there is cut by `at`, and some of it may be unreadable.
  bool cuts_excused(std::uint64_t unit_begin, std::uint64_t at) const {
    const std::uint64_t unit = std::max<std::uint64_t>(shape_.logical_block, kSectorSize);
    if (unit_begin == at) return false;
    return any_sector(unit_begin, std::min(unit, shape_.disk_bytes - unit_begin),
                      [this](std::uint64_t s) { return troubles_.may_be_unreadable(s); });
  }

  void flush() {
    const auto begun = oracle_.now();
    const auto done = plant_.volume->flush();
    trace_request("flush", 0, 0, done);
    if (done && !world_.ended()) return oracle_.flushed(begun);
    oracle_.doubt();
    if (world_.ended()) return;
    if (!disturbed_ && !flush_may_fail_) broken("flush failed without a reason: " + describe(done.error()));
    flush_may_fail_ = false;
  }

  void verb(Random& random) {
    const BlockIndex block(random_block(random));
    const std::uint64_t dice = random.below(14);
    if (dice < 4) {
      add(block);
    } else if (dice < 8) {
      remove(block);
    } else if (dice < 9 && alone_) {
      block.value() % 2 == 0 ? mark_lost(block) : import_from(block);
    } else if (dice < 10) {
      trace_request("clear-lost of block", block.value(), 1, plant_.volume->clear_lost(block));
    } else if (dice >= 12) {
      ScrubFindings found;
      const std::uint64_t blocks = 1 + random.below(64);
      trace_request("scrub from block", block.value(), blocks, plant_.volume->scrub(block, blocks, found));
    } else {
      trace_request("retest of block", block.value(), 1, plant_.volume->retest(block));
    }
  }

  void add(BlockIndex block) {
    const auto added = plant_.volume->add(block);
    trace_request("add of block", block.value(), 1, added);
    if (world_.ended() || !alone_ || !added || *added != remapfs::Outcome::done) return;
    for_sectors(block, [this](std::uint64_t s) { troubles_.excuse(s, false); });
  }

  void remove(BlockIndex block) {
    const auto removed = plant_.volume->remove(block);
    trace_request("remove of block", block.value(), 1, removed);
    if (world_.ended() || !removed) return;
    // A range that fails a few times only may have let the verification pass.
    for_sectors(block,
                [this](std::uint64_t s) { troubles_.excuse(s, troubles_.excused(s) || troubles_.fails_to_read(s)); });
  }

  void mark_lost(BlockIndex block) {
    for_sectors(block, [this](std::uint64_t s) { troubles_.excuse(s, true); });
    trace_request("mark-lost of block", block.value(), 1, plant_.volume->mark_lost(block));
  }

  // One sector of the block, all of the next one, and two weak blocks further on.
  void import_from(BlockIndex block) {
    const BlockGeometry geometry(shape_.block_size);
    const BlockIndex end_of_disk(geometry.blocks_in(ByteCount(shape_.disk_bytes)));
    std::vector<ImportRun> runs;
    const auto list = [&](std::uint64_t first, std::uint64_t last, SectorMask lost) {
      const BlockRange range{block + first, std::min(block + last, end_of_disk)};
      if (!range.empty()) runs.push_back({range, lost});
    };
    list(0, 1, 1);
    list(1, 2, geometry.full_mask());
    list(300, 302, 0);
    for (const ImportRun& run : runs) {
      if (plant_.observed.rows.contains(run.blocks.begin.value())) continue;
      for_sectors(run.blocks.begin, [&, sector = 0U](std::uint64_t s) mutable {
        if ((run.lost >> sector++ & 1U) != 0) troubles_.excuse(s, true);
      });
    }
    ImportCounts counts;
    trace_request("import from block", block.value(), 1, plant_.volume->import_entries(runs, counts));
  }

  std::uint64_t random_block(Random& random) const {
    const BlockGeometry geometry(shape_.block_size);
    const std::uint64_t block = random.below(geometry.blocks_in(ByteCount(shape_.disk_bytes)));
    if (plant_.observed.rows.empty() || random.one_in(3)) return block;
    const auto row = plant_.observed.rows.lower_bound(block);
    return row == plant_.observed.rows.end() ? plant_.observed.rows.begin()->first : row->first;
  }

  // --- Sectors ---

  template <class Test>
  static bool any_sector(std::uint64_t offset, std::uint64_t length, Test&& test) {
    for (std::uint64_t s = offset / kSectorSize; s * kSectorSize < offset + length; ++s) {
      if (test(s)) return true;
    }
    return false;
  }

  template <class Visit>
  void for_sectors(BlockIndex block, Visit&& visit) {
    const std::uint64_t per_block = shape_.sectors_per_block();
    const std::uint64_t end = std::min((block.value() + 1) * per_block, shape_.sectors());
    for (std::uint64_t s = block.value() * per_block; s < end; ++s) visit(s);
  }

  const Script& script_;
  const bool with_trace_;
  const Shape shape_;
  const std::vector<std::byte> bytes_;
  Plant plant_;
  World& world_ = plant_.world;
  Oracle oracle_;
  Troubles troubles_{plant_};
  bool disturbed_ = false;       // any request may fail
  bool sync_failed_ = false;     // or is about to
  bool map_failed_ = false;      // the same
  bool flush_may_fail_ = false;  // a device has been away
  bool settle_ = false;          // power was lost, and not every sector looked at since
  bool slow_ = false;            // devices are
  bool alone_ = true;            // no other client
  bool looking_ = false;         // at every sector
  Outcome outcome_;
};

// An outcome as text, and back: counts in the first line, then the failure, then the trace.
std::string encode(const Outcome& outcome) {
  std::string text = fmt::format("{} {} {} {} {} {}\n{}\n", outcome.failure ? 1 : 0, outcome.failed_step, outcome.cuts,
                                 outcome.requests, outcome.relocations, outcome.proven, outcome.failure.value_or(""));
  for (const std::string& line : outcome.trace) text += line + '\n';
  return text;
}

Outcome decode(const std::string& text) {
  std::istringstream in(text);
  Outcome outcome;
  bool failed = false;
  std::string line;
  in >> failed >> outcome.failed_step >> outcome.cuts >> outcome.requests >> outcome.relocations >> outcome.proven;
  std::getline(in, line);
  std::getline(in, line);
  if (failed) outcome.failure = line;
  while (std::getline(in, line)) outcome.trace.push_back(line);
  return outcome;
}

}  // namespace

Outcome live(const Script& script, bool with_trace) {
  const auto text = run_apart([&] { return encode(Life(script, with_trace).live()); });
  if (text) return decode(*text);
  Outcome outcome;
  outcome.failure = text.error();
  outcome.failed_step = script.steps.size() - 1;
  return outcome;
}

}  // namespace remapfs::sim
