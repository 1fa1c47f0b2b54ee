// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "remapfs/remap_table.hpp"
#include "remapfs/thread_annotations.hpp"
#include "remapfs/volume.hpp"
#include "remapfs/volume_memory.hpp"
#include "volume/batch.hpp"
#include "volume/block_gate.hpp"
#include "volume/block_reader.hpp"
#include "volume/deadline.hpp"
#include "volume/group_commit.hpp"
#include "volume/member.hpp"
#include "volume/scratch_pool.hpp"

namespace remapfs {

// For who leaves a disk behind, or looks at all of it. A sector may take a minute to fail, and is known to be lost when
// it has failed with its block and then three times alone. No request waits for it but those that want the same block,
// and for those it is cut short.
inline constexpr std::chrono::minutes kCareTime{2};
inline constexpr std::chrono::minutes kMostCareTime{5};

// Lock order: scratch, then the gate (one hold that waits), then the commit, then the table's and the slot
// allocators' own mutexes. Nobody waits for a breaker with any of them in hand.
struct Volume::Impl {
  Impl(VolumeParts parts, VolumeOptions options);

  // --- open, close, status (volume.cpp) ---
  Result<void> load();
  Result<void> accept_rows(std::span<const RemapRow> rows);
  // From here on the devices are as they were to the process before, if there was one.
  void go_on_from_memory();
  // load() has failed: a process that tries again has to know of syncs that failed meanwhile.
  void leave_in_memory();
  [[nodiscard]] VolumeStatus status() const;
  void note_primary();
  // For those inside the gate, or with a hold: as long as they are, no member goes away.
  [[nodiscard]] Member* member(SpareId id) const { return members[id].load(std::memory_order_acquire); }
  // For everybody; null: there is none of this number.
  [[nodiscard]] std::shared_ptr<Member> share(SpareId id) const;
  void put_member(std::shared_ptr<Member> one);
  template <class Visit>
  void for_each_member(Visit&& visit, SpareId first = 0) const {
    const unsigned last = highest_member.load(std::memory_order_acquire);
    for (unsigned id = first; id <= last; ++id) {
      if (const auto one = share(static_cast<SpareId>(id))) visit(*one);
    }
  }
  template <class Visit>
  void for_each_spare(Visit&& visit) const {
    for_each_member(std::forward<Visit>(visit), 1);
  }
  [[nodiscard]] BlockRange whole_disk() const { return {BlockIndex(0), BlockIndex(block_count)}; }
  // Bytes of the block inside the disk.
  [[nodiscard]] std::uint64_t bytes_of(BlockIndex block) const;
  [[nodiscard]] std::uint64_t invalid_sectors(BlockIndex block, SectorMask valid) const;
  [[nodiscard]] SectorMask outside_disk(BlockIndex block) const;
  void count_entry(BlockIndex block, const Mapping& mapping, bool add);
  void publish(BlockIndex block, const std::optional<Mapping>& mapping);

  // --- the fast road (fast_road.cpp) ---
  Result<void> read_request(ByteRange range, std::byte* out, Deadline& deadline);
  Result<void> write_request(ByteRange range, const std::byte* data, WriteTries& tries);
  // Serves from `range` what needs no care; returns the part that does, or nothing when all is done.
  struct Trouble {
    ByteRange range;
    std::optional<FailedAccess> failed;  // an access failed there, rather than an entry asking for care
    std::optional<Error> fatal;          // the request cannot go on
  };
  std::optional<Trouble> fast_read(ByteRange range, std::byte* out);
  std::optional<Trouble> fast_write(ByteRange range, const std::byte* data);
  template <class Access>
  std::optional<Trouble> serve_runs(ByteRange range, bool write, Access&& access);
  // How the beginning of a range is served. range: not empty.
  [[nodiscard]] Run first_run(ByteRange range) const;
  // Where a run of the primary or of slots begins on its device.
  [[nodiscard]] ByteOffset place_of(const Run& run) const;
  // An access to this place worked.
  static void note_success(Member& member, ByteOffset at, bool write);
  [[nodiscard]] bool io_aligned(ByteRange range, const void* memory) const;
  [[nodiscard]] bool end_aligned(ByteOffset end) const;
  // What is left of the range without blocks whose part is off the devices' grid; may be empty or reversed.
  [[nodiscard]] ByteRange aligned_blocks(ByteRange range) const;
  Result<void> read_unaligned(ByteRange range, std::byte* out, Deadline& deadline);
  // stores: the body writes something that has to be stored when it is over.
  template <class Body>
  Result<void> retry_after_resume(bool stores, Body&& body);
  // put(piece, deadline) for pieces of at most so many bytes.
  template <class Put>
  Result<void> store_in_pieces(ByteRange range, std::uint64_t most, Put&& put);

  // --- for engines (direct_access.cpp) ---
  // Cuts access.range into parts; false when it asks for care.
  bool plan(DirectAccess& access);
  Result<void> recover_parts(DirectAccess& access, std::byte* memory, Deadline& deadline);
  Result<void> recover_part(const DirectAccess& access, DirectAccess::Part& part, std::byte* memory, Deadline& deadline,
                            WriteTries& tries);

  // --- the slow road (slow_read.cpp, slow_write.cpp) ---
  // failed: the access that was tried, in the range.
  Result<void> slow_read(ByteRange range, std::byte* out, Deadline& deadline,
                         const std::optional<FailedAccess>& failed);
  // Reads wanted sectors of a held block, all of them valid, into its buffer; what cannot be read is staged as lost.
  // Errors: lost, deadline, and those of confirm_media().
  Result<SectorReading> read_valid(const HeldBlock& held, SectorMask wanted, std::span<std::byte> buffer,
                                   std::span<std::byte> aside, const Deadline& deadline, Batch& batch);
  // Moves a block that was read with `reading` and is weak, where its device works and there is a slot; else says of a
  // block without an entry that it is weak. True when it moves.
  bool move_weak(const HeldBlock& held, const SectorReading& reading, std::span<std::byte> buffer,
                 std::span<std::byte> aside, const Deadline& deadline, Batch& batch);
  // data == nullptr writes zeros. How far it came: when its time is used up, what is left may well be written at once.
  // When that fails as well, its blocks go to slots untried.
  Result<ByteOffset> slow_write(ByteRange range, const std::byte* data, WriteTries& tries,
                                const std::optional<FailedAccess>& failed);
  // To its end, where nothing has failed yet.
  Result<void> slow_write_all(ByteRange range, const std::byte* data, WriteTries& tries);
  struct InPlace {
    Result<void> result;
    bool edge_failed = false;  // reading the rest of a logical block, rather than writing
    SectorMask good = 0;       // sectors around the part whose bytes are in the buffer now
  };
  InPlace write_in_place(const HeldBlock& held, BlockPart part, const std::byte* data, std::span<std::byte> buffer,
                         const Deadline& deadline);
  // After a write in place failed: of the sectors around its part those that hold other bytes now.
  [[nodiscard]] static SectorMask ruined_edges(const AtRisk& risk, std::span<std::byte> aside);
  void stage_ruined_edges(Batch& batch, std::span<std::byte> aside);
  // After a batch could not be settled. What failed writes have ruined is lost, or answers nothing until remount.
  void lose_ruined(const std::vector<AtRisk>& at_risk, std::span<std::byte> aside);
  // The block answers nothing until remount.
  void poison_ruined(BlockIndex block);
  // good: sectors that are in the buffer. They are not read again: a failed write may have ruined them.
  Result<void> write_to_new_slot(const HeldBlock& held, BlockPart part, const std::byte* data, SectorMask good,
                                 std::span<std::byte> buffer, std::span<std::byte> aside, const Deadline& deadline,
                                 Cause cause, Batch& batch);
  struct HoldRules {
    bool settle_matters;  // what is staged is what was asked for
    bool ends_in_time;    // the deadline ends it between two batches
  };
  // Runs step(held, part, offset in the range, buffer, aside, batch) over the blocks of a range, in batches under one
  // hold each, and settles each batch. The wait for others puts the deadline off. Where it ended: before the end of the
  // range, and after one batch at least, when there was no more time.
  template <class Step>
  Result<ByteOffset> for_each_held_block(ByteRange range, Deadline& deadline, HoldRules rules, Step&& step);

  // --- staging and settling (staging.cpp) ---
  // suspended_too: although the breaker of its device is open.
  Result<HeldBlock> look_up(BlockIndex block, bool suspended_too = false);
  // Writes content to a free slot; slots that fail are retired into the batch, and others are tried until there is
  // none, or until then. Errors: no_space, failed, suspended; deadline.
  Result<SlotAddress> write_slot(std::span<const std::byte> content, std::span<std::byte> aside, Batch& batch,
                                 const Deadline* until = nullptr);
  [[nodiscard]] ByteOffset slot_offset(SlotAddress where) const;
  // Moves the block to a new slot: `good` sectors are in the buffer, the other valid ones are read until the deadline.
  // slots_until: as write_slot().
  Result<void> stage_relocation(const HeldBlock& held, SectorMask good, std::span<std::byte> buffer,
                                std::span<std::byte> aside, const Deadline& deadline, const Deadline* slots_until,
                                Cause cause, Batch& batch);
  // The whole block as its slot will hold it: zeros where sectors are not valid.
  [[nodiscard]] std::span<const std::byte> block_content(const HeldBlock& held, SectorMask valid,
                                                         std::span<std::byte> buffer) const;
  void stage_new_slot(const HeldBlock& held, SlotAddress where, SectorMask valid, std::span<const std::byte> content,
                      Cause cause, Batch& batch);
  // Takes sectors away from the valid ones; the block keeps its slot if it has one.
  void stage_lost(const HeldBlock& held, SectorMask bad, Cause cause, Batch& batch);
  // The same for sectors that a failed write has ruined: what can be read there is not the block's data.
  void stage_ruined(const HeldBlock& held, SectorMask ruined, Batch& batch);
  // Of a lost row without a slot, of which no sector may be taken for readable again: why, write_error or replaced.
  [[nodiscard]] std::optional<Cause> ruin_of(const HeldBlock& held);
  // Sectors of the slot that were written in place become valid.
  void stage_revived(const HeldBlock& held, SectorMask sectors, Cause cause, Batch& batch);
  [[nodiscard]] SectorMask written_mask(const HeldBlock& held);
  void stage_weak(const HeldBlock& held, Batch& batch);
  // Makes the batch durable and then visible, or gives its slots back. Errors: store, failed, no_space, no_memory.
  Result<void> settle(Batch& batch, std::span<std::byte> aside);
  Result<void> replace_bad_slots(Batch& batch, const std::vector<SlotAddress>& bad, std::span<std::byte> aside);
  void publish(const Batch& batch, const CommitReport& report);
  void give_back_slots(Batch& batch);
  void poison(const Batch& batch);
  void tell_map_failed();
  void tell(const Event& event) const;
  Result<void> record(Event event);

  // --- health (probes.cpp) ---
  // Success: the error speaks of a sector and entries may be made. Otherwise the answer for the caller, with the
  // breaker open if the device is broken. `fault`: where on the device, held by the caller.
  Result<void> confirm_media(Member& member, const Error& error, bool write, ByteRange fault,
                             std::span<std::byte> aside);
  // The same for valid sectors that could not be read and that a move of their block leaves behind for good: that the
  // device worked a moment ago does not count.
  Result<void> confirm_lost(const HeldBlock& held, const Error& error, std::span<std::byte> aside);
  // nothing_to_try: the device has no other place that could be asked.
  enum class Probe : std::uint8_t { works, broken, nothing_to_try };
  [[nodiscard]] Probe probe_reads(Member& member, ByteRange fault, std::span<std::byte> buffer);
  // buffer: room for two blocks.
  [[nodiscard]] Probe probe_primary_writes(ByteRange fault, std::span<std::byte> buffer);
  // True unless the primary holds other bytes there now, or cannot read them.
  [[nodiscard]] bool still_there(ByteOffset at, std::span<const std::byte> bytes, std::span<std::byte> buffer);
  // Moves a block without an entry, held by the caller, whose `known` sectors a failed write has ruined and which are
  // in `content`; what has nowhere to go is lost.
  void rescue(BlockIndex block, SectorMask known, std::span<std::byte> content, std::span<std::byte> aside);
  template <class Try>
  [[nodiscard]] Probe probe_places(Member& member, ByteRange fault, Try&& try_place);
  [[nodiscard]] Probe probe_spare_writes(Member& spare, std::span<std::byte> buffer);
  void open_breaker(Member& member, const Error& error);
  void sync_failed_on(Member& member, const Error& error);
  void seed_good_places(Member& member);
  [[nodiscard]] std::uint64_t resumes_so_far();
  // Until there has been another resume than the first `seen`.
  Result<void> wait_for_resume(std::uint64_t seen);

  // --- commits that wait for a spare (unfinished.cpp) ---
  // The answer for whoever asked for the batch: suspended or failed.
  Result<void> leave_unfinished(const Batch& batch, const CommitFailure& failure, std::span<std::byte> aside);
  // Whether a device that something failed on does not work at all; then its breaker is open.
  bool is_broken(Member& member, const Error& error, std::span<std::byte> aside);
  // With everything held. Errors: failed, no_memory, device errors.
  Result<void> finish_commits(std::span<std::byte> aside);
  [[nodiscard]] bool is_unfinished(BlockIndex block) const;
  [[nodiscard]] std::vector<SpareId> lacking(BlockIndex block) const;
  [[nodiscard]] bool has_unfinished() const;
  [[nodiscard]] Errc why_poisoned(BlockIndex block) const;

  // --- flush and resume (flush.cpp) ---
  Result<void> flush();
  Result<void> flush_member(const std::shared_ptr<Member>& member, std::vector<std::shared_ptr<Member>>& telling);
  // aside: empty: whether the device works at all is not asked.
  Result<void> after_sync(Member& member, const Result<void>& synced, std::span<std::byte> aside = {});
  Result<Outcome> resume();

  // --- zeroing and seeking (zero.cpp) ---
  Result<void> zero_checked(ByteRange range, bool punch);
  Result<void> zero_piece(ByteRange range, bool punch);
  [[nodiscard]] ByteOffset end_of_attention(ByteRange range) const;
  Result<ByteOffset> seek_data(ByteOffset from);
  Result<ByteOffset> seek_hole(ByteOffset from);

  // --- operator's verbs (manage.cpp) ---
  Result<Outcome> add(BlockIndex block);
  Result<Outcome> remove(BlockIndex block, bool tell_of_it);
  Result<Outcome> retest(BlockIndex block, bool lost_only);
  Result<Outcome> mark_lost(BlockIndex block);
  Result<void> check_block(BlockIndex block) const;
  struct BlockTimes {
    std::chrono::milliseconds wait;    // for the block
    std::chrono::milliseconds budget;  // to try things on it
    std::chrono::milliseconds most;    // the same while nobody waits for the block
  };
  [[nodiscard]] BlockTimes operator_times() const {
    return {options.block_patience, options.request_budget, options.request_budget};
  }
  // Of who cannot go on without the block.
  [[nodiscard]] BlockTimes care_times() const {
    return {options.block_patience, std::min<std::chrono::milliseconds>(kCareTime, options.block_patience),
            kMostCareTime};
  }
  // Takes the block and hands it to step(held, scratch, deadline, batch); settles what step staged. Errors: busy.
  template <class Step>
  Result<Outcome> with_block(BlockIndex block, BlockTimes times, Step&& step);
  Result<void> copy_back(const HeldBlock& held, const ScratchPool::Scratch& scratch, const Deadline& deadline);

  // --- scrub (scrub.cpp) ---
  Result<BlockIndex> scrub(BlockIndex from, std::uint64_t most_blocks, ScrubFindings& findings,
                           const std::function<bool()>& go_on);
  [[nodiscard]] BlockRange weak_blocks_in(BlockRange blocks) const;
  Result<BlockIndex> scrub_carefully(BlockRange blocks, bool failed, ScrubFindings& findings,
                                     const std::function<bool()>& go_on);
  Result<ScrubFindings> scrub_block(BlockIndex block);
  Result<void> record_scrub(const ScrubRecord& record, std::optional<Event> event);

  // --- spares that come and go (spares.cpp) ---
  Result<void> add_spare(NewSpare spare);
  Result<void> fits_beside(const DeviceGeometry& device, const std::string& name) const;
  Result<void> retire_spare(SpareId id, const std::function<bool(BlockIndex)>& moved);
  [[nodiscard]] static Result<void> check_trusted(const Member& member);
  Result<void> empty_spare(const Member& spare, const std::function<bool(BlockIndex)>& moved);
  [[nodiscard]] std::vector<BlockIndex> blocks_on(SpareId id, BlockRange blocks) const;
  Result<void> leave_spare(BlockRange blocks, SpareId id);
  Result<void> leave_spare(const HeldBlock& held, SpareId id, std::span<std::byte> buffer, std::span<std::byte> aside,
                           const Deadline& deadline, Batch& batch);
  Result<void> leave_spare_with_care(BlockIndex block, SpareId id);
  Result<void> drop_spare(const Member& spare);
  [[nodiscard]] std::uint64_t free_slots_beside(SpareId id) const;
  std::optional<Event> low_on_slots();

  // --- a new primary (replace.cpp) ---
  class Replacement;
  Result<void> replace_primary(NewPrimary next, const CopyPace& pace);
  [[nodiscard]] Result<void> can_replace(const NewPrimary& next) const;
  Result<void> forget_dirty();
  std::optional<ReturnedBlock> return_next(BlockIndex from);

  // --- import (import.cpp) ---
  struct PlannedImport {
    BlockIndex block;
    SectorMask lost;  // none: weak
  };
  class ImportPlan;
  Result<void> import_entries(std::span<const ImportRun> runs, ImportCounts& counts);
  Result<void> check_import(std::span<const ImportRun> runs) const;
  void stage_import(const PlannedImport& planned, Batch& batch, ImportCounts& counts) const;
  // Each of the stretches is held as a whole.
  Result<void> import_stretches(std::vector<std::span<const PlannedImport>> stretches, std::span<std::byte> aside,
                                ImportCounts& counts);

  // --- state ---
  VolumeOptions options;
  std::unique_ptr<MapStore> store;
  GroupCommit commits;
  const BlockGeometry geometry;
  const ByteCount size;
  const std::uint64_t block_count;
  std::array<std::atomic<Member*>, VolumeMemory::kMostDevices> members{};  // [0] is the primary
  mutable Mutex members_mutex;                                             // innermost
  std::array<std::shared_ptr<Member>, VolumeMemory::kMostDevices> owned GUARDED_BY(members_mutex);
  std::atomic<unsigned> highest_member{0};
  VolumeInfo known_info GUARDED_BY(members_mutex);
  std::string known_stamp;                // of the primary in the map
  std::atomic<bool> spare_is_low{false};  // and that was said
  std::uint32_t io_alignment = 512;       // of offsets and lengths that go down unchanged
  std::uint32_t memory_alignment = 512;
  bool odd_end_fits = true;  // an access may end at the end of the disk, whichever member it goes to

  std::unique_ptr<RemapTable> table;
  std::unique_ptr<ScratchPool> scratches;
  BlockGate gate;

  std::atomic<bool> replacing{false};           // whoever set it has the rest
  std::atomic<bool> lost_for_good{false};       // what is lost now will not be on the device that is about to serve
  std::unique_ptr<DirtyMap> dirty;              // of a replacement; of the last one while somebody may still mark in it
  std::atomic<DirtyMap*> copied_from{nullptr};  // the same, while one is under way

  std::uint64_t loading_room = 0;  // reservations of the table that load() has not used yet
  // The map is written no more: a commit's outcome is unknown.
  [[nodiscard]] bool map_failed() const { return commits.broken(); }
  std::atomic<bool> map_failure_told{false};
  Mutex resuming;  // one asks the devices at a time
  mutable Mutex unfinished_mutex;
  std::vector<Unfinished> unfinished GUARDED_BY(unfinished_mutex);
  Mutex resume_mutex;
  std::condition_variable_any resumed;
  std::atomic<bool> closing{false};                    // set with the mutex, for those who wait
  std::uint64_t resumes GUARDED_BY(resume_mutex) = 0;  // attempts, whether every device came back or not
  std::atomic<std::uint64_t> generation{0};            // the same, counted while no request is inside
  bool closed = false;

  std::atomic<std::uint64_t> remapped_blocks{0};
  std::atomic<std::uint64_t> lost_sectors{0};
  std::atomic<std::uint64_t> weak_blocks{0};

  const std::unique_ptr<VolumeMemory> own_memory;  // null when the options bring one
  VolumeMemory& remembered;
  RequestCounters& my_counters();
};

// --- templates ---

// A volume is low on slots below this part of them: a tenth.
inline constexpr std::uint64_t kLowShare = 10;
inline constexpr std::chrono::milliseconds kLongestHold{200};
inline constexpr std::uint64_t kMostBlocksHeld = 64;

template <class Step>
Result<ByteOffset> Volume::Impl::for_each_held_block(ByteRange range, Deadline& deadline, HoldRules rules,
                                                     Step&& step) {
  const BlockRange blocks = geometry.blocks_touching(range);
  const std::uint64_t most = std::min({kMostBlocksHeld, kMaxRequestSize >> geometry.shift(), blocks.size()});
  auto asked = Deadline::Clock::now();
  const auto scratch = scratches->take(most << geometry.shift());
  deadline.put_off(Deadline::Clock::now() - asked);
  std::optional<Error> first_error;
  const auto keep = [&](Error error) {
    if (!first_error) first_error = std::move(error);
  };

  BlockIndex next = blocks.begin;
  while (next < blocks.end) {
    if (rules.ends_in_time && next != blocks.begin && deadline.passed()) break;
    const BlockRange wanted{next, std::min(blocks.end, next + most)};
    asked = Deadline::Clock::now();
    auto hold = gate.exclude(wanted, Deadline(options.block_patience));
    if (!hold) return fail(std::move(hold).error());
    deadline.put_off(Deadline::Clock::now() - asked);
    const Deadline hold_until(kLongestHold);

    Batch batch;
    bool go_on = true;
    // One slow block must not keep the others of the batch from their users: the hold ends after it.
    for (; next < wanted.end && go_on && (next == wanted.begin || !hold_until.passed()); ++next) {
      auto held = look_up(next);
      if (!held) {
        keep(std::move(held).error());
        continue;
      }
      const ByteOffset begin = std::max(range.begin, geometry.begin_of(next));
      const ByteOffset end = std::min(range.end, geometry.end_of(next));
      const BlockPart part{geometry.offset_in_block(begin), geometry.offset_in_block(end - 1) + 1};
      const auto buffer =
          scratch.main().subspan((next - wanted.begin.value()).value() << geometry.shift(), geometry.block_size());
      auto result = step(*held, part, distance(range.begin, begin).value(), buffer, scratch.aside(), batch);
      // Slots that the batch vacates are free once it is settled: then this block tries again.
      if (!result && result.error().code == Errc::no_space && !batch.entries.empty()) break;
      if (!result) {
        // A lost sector ends neither the request nor the batch; a broken device ends both.
        go_on = result.error().code == Errc::lost;
        keep(std::move(result).error());
      }
    }
    if (auto settled = settle(batch, scratch.aside()); !settled) {
      lose_ruined(batch.at_risk, scratch.aside());
      if (rules.settle_matters) {
        keep(std::move(settled).error());
        go_on = false;
      }
    }
    if (!go_on) break;
  }
  if (first_error) return fail(std::move(*first_error));
  return std::min(range.end, geometry.begin_of(next));
}

template <class Step>
Result<Outcome> Volume::Impl::with_block(BlockIndex block, BlockTimes times, Step&& step) {
  if (auto checked = check_block(block); !checked) return fail(std::move(checked).error());
  const auto scratch = scratches->take(geometry.block_size());
  auto hold = gate.exclude({block, block + 1}, Deadline(times.wait));
  if (!hold) return fail(Errc::busy, fmt::format("block {}: in use for too long, try again", block.value()));
  const Deadline firm(times.budget);
  const Deadline deadline(times.most, [&] { return closing || (firm.passed() && hold->wanted()); });
  auto held = look_up(block);
  if (!held) return fail(std::move(held).error());
  Batch batch;
  Result<Outcome> outcome = step(*held, scratch, deadline, batch);
  if (auto settled = settle(batch, scratch.aside()); !settled) return fail(std::move(settled).error());
  return outcome;
}

// While a breaker is open and on-loss=wait, requests wait here, with nothing in hand, and start over. So do those that
// stored something when a device was taken back meanwhile: it may have lost a part of it, and told another's flush.
template <class Body>
Result<void> Volume::Impl::retry_after_resume(bool stores, Body&& body) {
  for (;;) {
    const std::uint64_t seen = options.on_loss == OnLoss::fail ? 0 : resumes_so_far();
    const std::uint64_t before = generation.load(std::memory_order_acquire);
    Deadline deadline(options.request_budget);
    Result<void> result = body(deadline);
    if (result && stores && generation.load(std::memory_order_acquire) != before) continue;
    if (result || result.error().code != Errc::suspended || options.on_loss == OnLoss::fail) return result;
    if (auto go_on = wait_for_resume(seen); !go_on) return result;
  }
}

// What was stored before a device was taken back is stored again, as in retry_after_resume(): with the last piece all
// of them are acknowledged.
template <class Put>
Result<void> Volume::Impl::store_in_pieces(ByteRange range, std::uint64_t most, Put&& put) {
  std::uint64_t before = generation.load(std::memory_order_acquire);
  for (ByteOffset at = range.begin; at < range.end;) {
    const ByteRange piece{at, std::min(range.end, at + most)};
    auto stored = retry_after_resume(true, [&](Deadline& deadline) { return put(piece, deadline); });
    if (!stored) return stored;
    const std::uint64_t now = generation.load(std::memory_order_acquire);
    at = now == before ? piece.end : range.begin;
    before = now;
  }
  return {};
}

}  // namespace remapfs
