// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "remapfs/block_device.hpp"
#include "remapfs/dirty_map.hpp"
#include "remapfs/error.hpp"
#include "remapfs/map_store.hpp"
#include "remapfs/member_device.hpp"
#include "remapfs/remap_table.hpp"
#include "remapfs/scrub.hpp"
#include "remapfs/units.hpp"
#include "remapfs/volume_memory.hpp"

namespace remapfs {

// The devices and the map a volume is made of. The volume owns them from open() on.
struct VolumeParts {
  std::unique_ptr<MemberDevice> primary;
  std::map<SpareId, std::unique_ptr<MemberDevice>> spares;  // a missing spare (degraded) has no entry
  std::unique_ptr<MapStore> store;                          // opened, these spares attached, not yet loaded
};

// What requests do while a breaker is open.
enum class OnLoss : std::uint8_t { fail, wait };

// A device that was prepared to be one more spare: see store::initialise_spare().
struct NewSpare {
  SpareInfo info;
  std::string identity;  // of the device, as the map is to have it
  std::unique_ptr<MemberDevice> device;
  // Nobody makes requests of this volume before it is opened again: the device may need a coarser grid than they have
  // now.
  bool alone = false;
};

// A device that is to take the primary's place.
struct NewPrimary {
  PrimaryRecord record;
  std::unique_ptr<MemberDevice> device;  // as large as the disk
  bool alone = false;                    // as of NewSpare
};

// How far the copy to a new primary has come.
struct CopyProgress {
  ByteCount total;
  ByteCount left;                // to be copied, or to be copied again
  bool again = false;            // everything was copied once: what is left was written since
  std::optional<Error> trouble;  // what keeps the last step from being done: it will be tried again
};
// Asked before each step: how many bytes it may be. 0: give up. May take its time.
using CopyPace = std::function<std::uint64_t(const CopyProgress&)>;

struct VolumeOptions {
  bool read_only = false;  // writes nothing to primary, spare or map
  OnLoss on_loss = OnLoss::fail;
  // Upper bound for the retries of one request. Of a read, what is not reached inside it answers EIO and is not
  // recorded; what a write has not reached is tried once more, all of it at once, and goes to slots then.
  std::chrono::milliseconds request_budget{15000};
  // How long a request, or an operator's verb, waits for blocks that somebody else has: longer than anybody should have
  // them, on a device that takes a minute to fail, too. Then it answers EIO.
  std::chrono::milliseconds block_patience{420'000};
  // How finely a copy of the primary notes what is written meanwhile: one bit of memory each.
  std::uint64_t most_dirty_granules = DirtyMap::kMostGranules;
  // Lost sectors and weak blocks up to which a replacement changes their rows in the commit that switches, while
  // requests wait: some microseconds each. With more it does so before, for good even when it is given up then.
  std::uint64_t most_rows_at_once = std::uint64_t{1} << 14U;
  // Called after an event became history (or could not): operator's log. Never on the untouched path.
  std::function<void(const Event&)> on_event;
  // What the process that served the volume before knew of it; kept up to date. Outlives the volume. Null: none.
  VolumeMemory* memory = nullptr;
};

// Health of the volume, worst first.
enum class VolumeState : std::uint8_t { failed, suspended, degraded, healthy };
[[nodiscard]] std::string_view to_string(VolumeState state);

// The slots of one spare.
struct SpareStatus {
  SpareId id = 1;
  std::uint64_t usable = 0;
  std::uint64_t free = 0;
  bool retiring = false;  // its blocks are on their way to others
};

// What failed on one device.
struct DeviceFailures {
  SpareId id = 0;  // 0 is the primary
  FailureTable<std::uint64_t> failures{};
};

// Counters since open() and the state now. Counting is relaxed: figures of one moment need not add up.
struct VolumeStatus {
  VolumeState state = VolumeState::healthy;
  std::vector<std::string> reasons;  // why the state is not healthy, one line each
  bool suspended = false;            // a breaker is open, whatever else is wrong
  std::uint64_t remapped_blocks = 0;
  std::uint64_t lost_sectors = 0;  // invalid sectors inside the disk, on the primary or in slots
  std::uint64_t weak_blocks = 0;
  std::uint64_t slots_total = 0;  // usable, without spares that are being retired
  std::uint64_t slots_free = 0;
  std::vector<SpareStatus> spares;
  std::vector<DeviceFailures> failures;  // of devices that are there
  std::uint64_t reads = 0;
  std::uint64_t writes = 0;
  std::uint64_t read_errors = 0;   // answered to callers
  std::uint64_t write_errors = 0;  // answered to callers
  std::uint64_t relocations = 0;   // blocks
  std::uint64_t commits = 0;       // of the map
  std::chrono::nanoseconds longest_commit{0};
  bool table_growth_refused = false;
};

// What a management verb did to one block.
enum class Outcome : std::uint8_t {
  done,
  already,    // it was so before; nothing changed
  still_bad,  // retest, clear-lost: the place still cannot be read (the entry stays)
};

// A block that was to go back to the primary.
struct ReturnedBlock {
  BlockIndex block;
  Result<Outcome> result = Outcome::done;
};

// Neighbouring blocks about which an import says the same.
struct ImportRun {
  BlockRange blocks;
  SectorMask lost = 0;  // sectors that cannot be read; none: the blocks are weak

  friend bool operator==(const ImportRun&, const ImportRun&) = default;
};

// What an import has done so far.
struct ImportCounts {
  std::uint64_t lost_blocks = 0;  // new entries
  std::uint64_t lost_sectors = 0;
  std::uint64_t weak_blocks = 0;      // new entries
  std::uint64_t existing_blocks = 0;  // had an entry, which was left as it was

  ImportCounts& operator+=(const ImportCounts& other) {
    lost_blocks += other.lost_blocks;
    lost_sectors += other.lost_sectors;
    weak_blocks += other.weak_blocks;
    existing_blocks += other.existing_blocks;
    return *this;
  }
  friend bool operator==(const ImportCounts&, const ImportCounts&) = default;
};

// A request cut into device accesses that somebody else carries out: an engine that has many of them in flight.
// Made by Volume::begin(); until Volume::end() no block of it moves.
struct DirectAccess {
  struct Part {
    MemberDevice* device = nullptr;
    SpareId member = 0;   // 0 is the primary
    int descriptor = -1;  // the device's, if it has one
    ByteOffset at;        // on the device
    ByteOffset native;    // the same on the descriptor
    ByteRange range;      // on the virtual disk
    // Set by who carried it out. Not done, and no error: it was short, or not tried.
    bool done = false;  // all of it
    std::optional<Error> error;
  };
  static constexpr std::size_t kMostParts = 8;

  bool write = false;
  ByteRange range;
  std::array<Part, kMostParts> parts;
  std::size_t count = 0;  // of parts
  // The volume's own.
  void* stay = nullptr;
  std::uint64_t generation = 0;  // the volume's, when it began

  [[nodiscard]] std::span<Part> all() { return std::span(parts).first(count); }
};

// The virtual disk: reads and writes go through the remap table, blocks whose sectors fail move to a spare.
//
// Promises I1-I8 of the design are kept here; ARCHITECTURE.md says where each one is.
// Threads: every member from any number of threads. Each call is whole: when it returns, its effect is complete.
// Errors of I/O: media errors never come out raw: `lost` (or a device error when a device does not work) for a read,
//   `no_space` (no slot), `store`/`failed` (map cannot be committed), `suspended` (breaker open), `deadline`.
class Volume {
 public:
  // Loads and checks the whole map before any I/O can be served. Errors: those of MapStore::load, invalid (the primary
  // has another size), no_memory.
  static Result<std::unique_ptr<Volume>> open(VolumeParts parts, VolumeOptions options);
  // Closes if close() was not called, ignoring errors.
  ~Volume();
  Volume(const Volume&) = delete;
  Volume& operator=(const Volume&) = delete;

  // Flushes, checkpoints and marks the map clean. No other call may be running or follow. Errors: the flush's or
  // store's.
  Result<void> close();

  // Requests that wait for a resume (on-loss=wait) give up with `suspended`, and whoever gives a sector that fails
  // slowly its time (operator's verbs, scrub, a replacement) with `deadline`, now and from now on.
  void interrupt_waits();

  [[nodiscard]] ByteCount size() const;
  [[nodiscard]] const BlockGeometry& block_geometry() const;
  // As the map says; spares that came and went since are told, rows and scrub are those of the beginning.
  [[nodiscard]] VolumeInfo info() const;
  [[nodiscard]] bool read_only() const;
  [[nodiscard]] VolumeStatus status() const;

  // Reads into buffer; returns the bytes read, less than asked only at the end of the disk. Cost: one table check and
  // one device read per run when nothing is wrong.
  Result<std::size_t> read(ByteOffset offset, std::span<std::byte> buffer);
  // Writes all of data or fails. Errors: past_end (nothing is stored), read_only, and those above.
  Result<void> write(ByteOffset offset, std::span<const std::byte> data);
  // As read() and write(), for those who do the transfers themselves. begin() fills `access` with the accesses that
  // serve the request, when none of it asks for care; false: the request has to go through read() or write().
  // memory: where the request's bytes are, or will be, until end(). end(): all parts are done or failed; true: the
  // request was served, if it is answered now. Otherwise recover() finishes it, the slow way; errors as read() and
  // write().
  // Neither begin() nor end() waits for anything or anybody; a thread may have any number of accesses open, and no
  // other call of this class may be made by a thread that others wait for with an access of its own open.
  bool begin(DirectAccess& access, ByteRange range, const std::byte* memory, bool write);
  bool end(DirectAccess& access);
  Result<void> recover(DirectAccess& access, std::byte* memory);
  // Whether begin() can ever say yes: every member is accessed directly and has a descriptor.
  [[nodiscard]] bool has_direct_access() const;
  // Whether transfers wait for a device: not where the primary lies in memory.
  [[nodiscard]] bool waits_for_devices() const;
  // Makes every acknowledged write durable on primary and spares. A failed sync is sticky.
  Result<void> flush();
  // Changes whenever a device that was lost may have come back, without what it had not stored. Where it does between
  // the beginning of a write and the end of a flush, others may have been told of the loss: who acknowledges both at
  // once does both again.
  [[nodiscard]] std::uint64_t generation() const;
  // The range reads as zeros afterwards, lost sectors included. Errors as write().
  Result<void> zero(ByteRange range);
  // The same, giving space back on the primary; `unsupported` before any change where the primary cannot do it cheaply.
  Result<void> punch(ByteRange range);
  [[nodiscard]] bool can_punch() const;
  // As lseek's SEEK_DATA and SEEK_HOLE; entries are data. past_end beyond the size; not_found: no data follows.
  Result<ByteOffset> seek_data(ByteOffset from);
  Result<ByteOffset> seek_hole(ByteOffset from);

  // remapfs add: moves the block to a slot now, data kept. `lost` when there is no whole data to keep.
  Result<Outcome> add(BlockIndex block);
  // remapfs remove: copies the data back to the primary, verifies it, forgets the entry, frees the slot. `lost` for
  // blocks with lost sectors; `already` when there is no entry; a device error when the primary still fails (the entry
  // stays).
  Result<Outcome> remove(BlockIndex block);
  // remapfs retest: re-reads the place that holds the data; lost sectors that can be read become valid, weak blocks
  // that read well lose their entry.
  Result<Outcome> retest(BlockIndex block);
  // remapfs mark-lost: every sector of the block answers EIO until rewritten; a slot is kept.
  Result<Outcome> mark_lost(BlockIndex block);
  // remapfs clear-lost: as retest, for lost sectors only.
  Result<Outcome> clear_lost(BlockIndex block);
  // remapfs import: enters blocks as lost or weak; those that have an entry are left exactly as they are. Of a lost
  // block the sectors of the run's mask become lost, the others stay readable. Requests on the blocks see all of it or
  // nothing; a write that was under way is over before. Goes in batches, each durable before it is visible; after an
  // error whole batches have been done, and are counted.
  // runs: ascending, none empty. Errors: invalid, and as mark_lost.
  // Cost: about 5 us a block; one commit for up to 4096 of them.
  Result<void> import_entries(std::span<const ImportRun> runs, ImportCounts& counts);
  // remapfs scrub: reads up to most_blocks blocks from `from` on, each where its data is, and gives back the first one
  // that was not looked at. A block that came back only after retries, or is known to be weak, moves to a slot; sectors
  // that cannot be read are recorded as lost; those that are known to be are not tried again. Requests go on meanwhile.
  // findings: what was found is added, also before an error. Errors: read_only; suspended or device_gone (a device does
  // not work), store, failed: it can be tried again from `from`.
  // Cost: reads of up to kMaxRequestSize; one block at a time where something is wrong.
  // go_on: asked between blocks where something is wrong; false ends it there.
  Result<BlockIndex> scrub(BlockIndex from, std::uint64_t most_blocks, ScrubFindings& findings,
                           const std::function<bool()>& go_on = {});
  // How far a scrub has come, durably, with an event if there is one to tell.
  Result<void> record_scrub(const ScrubRecord& record, std::optional<Event> event = std::nullopt);

  // Keeps what drives said of themselves. Errors: read_only, store, failed.
  Result<void> record_smart(std::vector<SmartReading> readings);

  // remapfs spare add: takes one more spare into use. Errors: read_only, unsupported (its device needs a coarser grid
  // than the volume's requests have now), invalid, no_memory, store, failed, device errors.
  Result<void> add_spare(NewSpare spare);
  // remapfs spare retire: moves the blocks of a spare to the others, one by one, and lets it go, with its superblocks;
  // its device is closed when this returns and no flush is under way. moved: called after each block; false ends it.
  // Errors: not_found, read_only, device_gone (it is missing), no_space (the others have too few free slots), busy,
  // interrupted, and those of moving a block; then it stays, with the blocks that were not moved.
  Result<void> retire_spare(SpareId id, const std::function<bool(BlockIndex)>& moved);
  // remapfs replace: copies the disk to another device while it is in use, and goes on with that one. What is written
  // meanwhile is copied again; at the end requests wait while the rest is copied, about a second. Sectors that cannot
  // be read are recorded as lost, and stay so; blocks in slots stay there. Until it is over the map knows nothing of
  // the new device, and afterwards nothing of the old one, which is closed. After a crash the map says which of the two
  // it is. Errors: read_only, busy (one is under way), invalid (its size), unsupported (as add_spare), no_memory,
  // interrupted, failed (also when a block answers nothing until remount, or the map cannot be written), store, device
  // errors of the new device. A primary that does not work is waited for. When it fails the volume goes on as it was;
  // but when it is unknown whether the map has the new device, every later write fails with `failed` until remount.
  // Threads: one at a time. Cost: a bit of memory for each block, one copy of the disk and of what is written
  // meanwhile.
  Result<void> replace_primary(NewPrimary next, const CopyPace& pace);
  // Copies the next block at or behind `from` that lives in a slot, as a whole, back to the primary, as remove(), which
  // the history does not tell of every block. Nothing: there is none.
  std::optional<ReturnedBlock> return_next(BlockIndex from);
  // Of the primary that serves now.
  [[nodiscard]] DeviceGeometry primary_geometry() const;
  // remapfs resume: probes the devices, closes breakers, forgets sync failures (the first flush after unflushed writes
  // were lost with a vanished device fails). Errors: device errors when a device still does not answer.
  Result<Outcome> resume();

  // Adds a line to the volume's history.
  Result<void> record_event(Event event);

  struct Impl;

 private:
  explicit Volume(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace remapfs
