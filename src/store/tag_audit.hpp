// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "remapfs/error.hpp"
#include "remapfs/map_store.hpp"
#include "store/slot_hashes.hpp"
#include "store/tag_table.hpp"

namespace remapfs::store {

// Something the audit of a spare's tags came across.
struct TagFinding {
  enum class Weight : std::uint8_t {
    refuse,  // map and spare do not belong together as they are
    mend,    // what an interrupted commit or a failing sector leaves; put right by the next mount for writing
  };
  Weight weight = Weight::mend;
  Errc code = Errc::corrupt;  // of a refusal
  std::string text;
};

// What the map knows about one spare when its tags are to be audited.
struct TagAudit {
  const SlotHashes& rows;  // tag_digest() of the row of each slot
  Sequence map_sequence;   // the last commit in the map
  Sequence watermark;      // the last commit that is complete on the spare
  bool map_clean = false;  // closed in order: both tables are as they should be, and no commit was under way
  // The spare's superblock vouches for number and digest of exactly these rows: a row stands whatever its tag says.
  bool rows_vouched = false;
  bool both_copies = false;  // read copy B everywhere, not only where copy A is in doubt
  std::function<Result<std::optional<RemapRow>>(SlotIndex)> find_row;
  std::function<bool(SlotIndex)> is_bad_tag;  // retired because its tag cannot be written
  // Returning false ends the audit.
  std::function<bool(const TagFinding&)> on_finding;
};

// What has to be written to make both tables agree with the map.
struct TagMending {
  std::vector<TagTable::Update> updates;  // ascending
  std::vector<SlotIndex> owned;           // those of them that a row owns, ascending
  std::uint64_t confirmed = 0;            // rows that a tag confirms
  std::vector<SlotIndex> unreadable;      // slots without a row, no copy of whose tag can be read, ascending
};

// Compares every tag of a spare with the rows. Writes nothing.
//
// A row is confirmed by one copy that says the same. Tags of slots without a row are left over from commits that did
// not happen, or were not finished, and are to be cleared. A tag of the one commit that may have been cut off by a
// crash (map_sequence + 1) gives way to the row. Anything else is a refusal. Errors: device errors that are not media
// errors, no_memory, what find_row answers.
Result<TagMending> audit_tags(const TagTable& table, const TagAudit& audit);

}  // namespace remapfs::store
