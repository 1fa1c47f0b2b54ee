// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "remapfs/block_device.hpp"
#include "remapfs/error.hpp"
#include "remapfs/remap_table.hpp"
#include "remapfs/scrub.hpp"
#include "remapfs/smart.hpp"
#include "remapfs/units.hpp"

namespace remapfs {

// Why an entry was made or changed; the text of `cause` in the map is to_string() of it.
enum class Cause : std::uint8_t {
  read_error,      // a read of the primary failed for good
  write_error,     // a write to the primary failed; of a lost block: and left something else there than its data
  weak_read,       // a read succeeded only after retries
  slot_error,      // the block's slot failed
  rewritten,       // a write made lost sectors valid
  operator_add,    // remapfs add
  operator_mark,   // remapfs mark-lost
  operator_clear,  // remapfs clear-lost or retest
  discard,         // zeroed
  imported,        // remapfs import
  recovered,       // remapfs recover: the reason went with the map
  spare_retired,   // remapfs spare retire: its slot was on that one
  replaced,        // remapfs replace, of a lost block: what can be read on the new primary is not its data
};
[[nodiscard]] constexpr std::string_view to_string(Cause cause) {
  switch (cause) {
    case Cause::read_error: return "read_error";
    case Cause::write_error: return "write_error";
    case Cause::weak_read: return "weak_read";
    case Cause::slot_error: return "slot_error";
    case Cause::rewritten: return "rewritten";
    case Cause::operator_add: return "operator_add";
    case Cause::operator_mark: return "operator_mark";
    case Cause::operator_clear: return "operator_clear";
    case Cause::discard: return "discard";
    case Cause::imported: return "imported";
    case Cause::recovered: return "recovered";
    case Cause::spare_retired: return "spare_retired";
    case Cause::replaced: return "replaced";
  }
  return "unknown";
}
inline constexpr Cause kLastCause = Cause::replaced;

// One row of `remaps`.
struct RemapRow {
  BlockIndex block;
  EntryState state = EntryState::lost;  // never poisoned
  SlotAddress where;                    // when remapped
  SectorMask valid_mask = 0;
  // Sectors of the slot that have ever held this block's data, a superset of valid_mask. A sector outside it must not
  // become valid by re-reading the slot. Meaningful when remapped.
  SectorMask written_mask = 0;
  Sequence sequence;  // of the spare's commit that made the row, 0 without a slot
  Cause cause = Cause::read_error;
  std::uint64_t error_count = 0;

  [[nodiscard]] Mapping mapping() const { return {state, where, valid_mask}; }
  // What can be read in place of its lost sectors is not their data: reading them proves nothing.
  [[nodiscard]] bool ruined() const {
    return state == EntryState::lost && (cause == Cause::write_error || cause == Cause::replaced);
  }
};

// One change of one block's entry.
struct MapChange {
  enum class Kind : std::uint8_t { put, erase };
  Kind kind = Kind::put;
  BlockIndex block;
  // For put: the new content. `sequence` is set by commit(), error_count is added to the row's.
  RemapRow row;
  // A slot the block leaves: its tag is cleared durably before commit() returns.
  std::optional<SlotAddress> vacated;
};

// One line of the volume's history.
struct Event {
  std::string kind;  // a word: "mount", "breaker-open", "relocated", ...
  std::optional<BlockIndex> block;
  std::string detail;
};

// Another primary in the place of the one that the map has.
struct PrimaryRecord {
  std::string path;
  std::string identity;
};

// What becomes durable together.
struct MapTransaction {
  std::vector<MapChange> changes;
  std::vector<SlotAddress> retired_slots;  // slots that failed, never to be used again
  std::vector<Event> events;
  std::optional<ScrubRecord> scrub{};  // replaces what the map has
  std::vector<SmartReading> smart{};
  std::optional<std::string> primary_stamp{};  // as it is at the end, see BlockDevice::stamp()
  // Only with events and rows of blocks without a slot: from then on the primary is that one. Its stamp is not known
  // yet.
  std::optional<PrimaryRecord> primary{};

  [[nodiscard]] bool empty() const {
    return changes.empty() && retired_slots.empty() && events.empty() && !scrub.has_value() && smart.empty() &&
           !primary_stamp.has_value() && !primary.has_value();
  }
};

// What a commit that succeeded has to report.
struct CommitReport {
  // Vacated slots whose tag could not be cleared: they must not be used again.
  std::vector<SlotAddress> uncleared;
  // Other blocks' slots whose tag could not be written: they must not be used again once they are free.
  std::vector<SlotAddress> retired{};

  void add(const CommitReport& other) {
    uncleared.insert(uncleared.end(), other.uncleared.begin(), other.uncleared.end());
    retired.insert(retired.end(), other.retired.begin(), other.retired.end());
  }
};

// A spare that did not take what a commit has for it.
struct SpareFailure {
  SpareId spare = 0;
  Error error;
  bool in_sync = false;
};

// Why a commit failed. error.code is
//   store           nothing changed, the map can be written again;
//   commit_unknown  the outcome is unknown; the store takes no further commit until it is opened again;
//   suspended       nothing changed: `spare` has not got its part of an earlier commit, see finish_commits();
//   a device error  nothing changed: the tags of `bad_slots` could not be written, or `spare` does not work; if
//                   `sync_failed` names one, that is its sync.
// Unless it is unfinished, whatever the error: then the rows are durable and the spares of `unfinished` have not got
// their part. Nobody may be told of the rows before finish_commits() has brought it.
struct CommitFailure {
  Error error;
  std::vector<SlotAddress> bad_slots;
  std::optional<SpareId> sync_failed;
  std::optional<SpareId> spare{};
  std::vector<SpareFailure> unfinished{};
};

// What finish_commits() has to report.
struct FinishedCommits {
  CommitReport report;               // of all commits that were unfinished
  std::vector<SpareFailure> left{};  // spares that lack their part still
};

// A spare as its volume sees it.
struct SpareInfo {
  SpareId id = 1;
  std::string path;
  std::string uuid;
  std::uint64_t slots = 0;  // usable slots
  ByteOffset first_slot;    // where slot 0 starts, from the beginning of the spare; slots follow without gaps
  std::vector<SlotIndex> retired;
  bool missing = false;  // not there: mounted degraded, its blocks answer EIO
  ByteOffset begin{};    // of the spare on its device, which goes on to the end of it; 0: all of the device
};

// What the map says of its volume.
struct VolumeInfo {
  std::string map_path;
  std::string uuid;
  std::string label;
  std::uint64_t block_size = kDefaultBlockSize;
  ByteCount size;
  std::string primary_path;
  std::string primary_identity;
  std::vector<SpareInfo> spares;
  std::uint64_t rows = 0;     // of `remaps` when the map was opened
  bool clean = false;         // the last user closed it in order
  std::string primary_stamp;  // what it was then; empty: cannot be told
  ScrubRecord scrub;          // when the map was opened

  // Whether this spare is the end of the file or device of which the volume is the beginning.
  [[nodiscard]] bool is_end_of_primary(const SpareInfo& spare) const {
    return spare.begin != ByteOffset(0) && spare.path == primary_path;
  }
};

// The durable map: rows in the map file and tags on the spares, kept as one.
//
// commit() is the only way anything becomes durable, and keeps promise I3: write tags, sync the spares, commit the
// rows, write the watermarks and clear vacated tags, sync the spares. The data in the slots must have been written
// (not synced) before. When it returns success, every change is durable.
// Threads: one at a time; the volume's group commit serialises.
// Cost: one transaction and two syncs per touched spare, however many changes.
class MapStore {
 public:
  virtual ~MapStore() = default;

  [[nodiscard]] virtual const VolumeInfo& info() const = 0;

  // Calls visit for all rows, some at a time, ascending by block, and checks all of it: order, ranges, masks, slots
  // owned once, count and digest of the rows, watermark, each row against its tag. Tags without a row are cleared (not
  // when read-only). Called once, before anything else. Errors: corrupt, stale, foreign, device errors; visit's own
  // error is passed on.
  // Threads: visit may run on a thread of the store's while the caller waits here; its calls follow each other.
  virtual Result<void> load(const std::function<Result<void>(std::span<const RemapRow>)>& visit) = 0;

  // The row of one block as committed last. Errors: store.
  virtual Result<std::optional<RemapRow>> find_row(BlockIndex block) = 0;

  virtual tl::expected<CommitReport, CommitFailure> commit(const MapTransaction& transaction) = 0;
  // Brings to the spares, durably, what they lack of commits that were left unfinished, as far as it can be done. A
  // commit none of whose spares is left is as if it had succeeded.
  virtual FinishedCommits finish_commits() = 0;

  // One more spare, prepared (its superblock says that it is this one of this volume, and never used) and durable. From
  // then on its slots may be used; device outlives this object, or the spare's retirement. info() may have it.
  // Errors: invalid (not such a spare, or there is one of its number), store, device errors; commit_unknown.
  virtual Result<void> add_spare(const SpareInfo& spare, const std::string& identity, BlockDevice& device) = 0;
  // A spare on which no block lives leaves the volume for good. Errors: invalid, store, suspended (a commit is not
  // finished); commit_unknown.
  virtual Result<void> retire_spare(SpareId id) = 0;
  // Takes from a device that has left what says that it is a spare, as far as the device lets it.
  // Threads: any, beside everything else.
  virtual void wipe_spare(BlockDevice& device) const = 0;

  // Ends in order: checkpoints, records that the close was clean, lets go of the map. Errors: store.
  virtual Result<void> close() = 0;
};

}  // namespace remapfs
