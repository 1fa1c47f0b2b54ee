// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <SQLiteCpp/SQLiteCpp.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/unique_fd.hpp"
#include "remapfs/error.hpp"
#include "remapfs/map_store.hpp"

namespace remapfs::store {

// The one connection that writes a map file: the rows' half of a commit, without tags and without judgement.
//
// Errors: of every member Errc::store, or invalid where a constraint of the schema is broken.
// Threads: one at a time.
class MapWriter {
 public:
  // path: canonical, of a map that was checked and is owned by the caller. Errors: as open_database().
  static Result<std::unique_ptr<MapWriter>> open(const std::string& path);
  // Leaves map and log as they are; close() is the orderly way.
  ~MapWriter() = default;
  MapWriter(const MapWriter&) = delete;
  MapWriter& operator=(const MapWriter&) = delete;

  Result<void> begin();
  // Rows as the open transaction sees them, or as committed when there is none.
  Result<std::optional<RemapRow>> find(BlockIndex block);
  Result<std::optional<RemapRow>> find_owner(SlotAddress slot);
  // Enters the row of a block that has none; false, and no change, when it has one.
  Result<bool> insert(const RemapRow& row);
  // Replaces the row of a block; keeps created_at, adds to error_count.
  Result<void> update(const RemapRow& row);
  Result<void> erase(BlockIndex block);
  // reason: 'slot' or 'tag', as in the schema. Retired already: 'tag' replaces 'slot', nothing else changes.
  Result<void> retire(SlotAddress slot, const char* reason);
  Result<void> add_event(const Event& event);
  Result<void> put_scrub(const ScrubRecord& record);
  Result<void> add_smart(const SmartReading& reading);
  // identity: of the device. The spare's sequence is 0.
  Result<void> add_spare(const SpareInfo& spare, const std::string& identity, ByteCount size);
  // Its retired slots are forgotten.
  Result<void> retire_spare(SpareId id);
  // Whether a row lives on the spare; whether there has ever been one of this number.
  Result<bool> is_used(SpareId id);
  Result<bool> is_known(SpareId id);
  Result<void> set_sequence(SpareId spare, Sequence sequence);
  Result<void> set_totals(std::uint64_t row_count, std::uint64_t row_digest);
  Result<void> set_clean(bool clean);
  Result<void> set_primary_stamp(const std::string& stamp);
  Result<void> set_primary(const PrimaryRecord& primary);
  // Writes what commit() will need but one page, and makes sure of the room for that: after this a full disk can
  // hardly fail the commit itself, whose failure leaves the outcome unknown.
  Result<void> prepare();
  // Makes the transaction durable. After a failure the outcome is unknown.
  Result<void> commit();
  // Ends the transaction without a change. After a failure the connection must not be used any more.
  Result<void> rollback();

  // After a rollback for want of space: moves the log into the map, so that the log can be used from its beginning
  // again. False when nothing can be gained.
  bool make_room();
  // After commits: moves the log into the map when it has grown. A failure is remembered, and from then on the log is
  // only appended to: what an fsync has failed for once cannot be trusted to be written by the next one.
  void checkpoint_if_due();
  // Moves the log into the map and closes; the log goes away unless readers hold it.
  // Errors: store; everything committed is durable in the log all the same.
  Result<void> close();

  // False when the log that is written is no longer the one next to the map.
  [[nodiscard]] bool log_in_place() const;

 private:
  struct Statements;
  explicit MapWriter(std::string path) : path_(std::move(path)) {}

  template <class Bind>
  Result<void> run(SQLite::Statement& statement, Bind&& bind);
  Result<void> write_row(SQLite::Statement& statement, const RemapRow& row);
  Result<std::optional<RemapRow>> find_by(SQLite::Statement& statement, std::int64_t first,
                                          std::optional<std::int64_t> second);
  Result<bool> has_row(const char* text, SpareId id);
  Result<void> reserve_log();
  bool checkpoint();

  std::string path_;
  std::unique_ptr<SQLite::Database> database_;
  struct StatementsDeleter {
    void operator()(Statements* statements) const;
  };
  std::unique_ptr<Statements, StatementsDeleter> statements_;  // before database_ in destruction
  UniqueFd log_;
  std::int64_t log_reserved_end_ = 0;
  std::uint64_t log_salt_ = 0;
  int pages_written_before_ = 0;  // counter of the connection when the transaction began
  std::string now_;
  bool events_added_ = false;
  int log_frames_ = 0;
  int checkpoint_at_frames_ = 0;
  bool checkpoint_failed_ = false;
};

}  // namespace remapfs::store
