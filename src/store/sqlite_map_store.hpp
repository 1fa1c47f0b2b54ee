// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <SQLiteCpp/SQLiteCpp.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "remapfs/map_store.hpp"
#include "store/map_lock.hpp"
#include "store/map_writer.hpp"
#include "store/row_codec.hpp"
#include "store/tag_audit.hpp"
#include "store/tag_table.hpp"
#include "store/volume_record.hpp"

namespace remapfs::store {

struct OpenOptions {
  bool read_only = false;  // nothing is written, neither to the map nor to its spares
  bool degraded = false;   // spares may be missing; only together with read_only
  // Accept, and mend when writing, what a mount refuses although nothing has to be guessed: tags damaged in both
  // copies, where the spare's superblock vouches for the rows; superblocks damaged in both copies, where its tags
  // confirm them.
  bool repair = false;
  std::chrono::milliseconds lock_wait{};  // for a process that still has the map
};

// The map in a SQLite file, with tags on the spares.
//
// Life: open(), attach_spare() for each spare, load(), then find_row() and commit(), at last close(). Until load() has
// accepted everything, nothing at all is written, not even by SQLite; then load() marks the map as in use and takes the
// next sequence of every spare, so that no number a crash left behind is ever used again.
// Without close() the map stays marked as in use, which the next load() treats as a crash.
// Files: the map and, while it is open, its -wal and -shm; a second open of the same map is refused as busy.
class SqliteMapStore final : public MapStore {
 public:
  // Opens and checks the map alone. Errors: not_found, permission, busy, foreign, too_new, corrupt, store; invalid for
  // `degraded` without `read_only`.
  static Result<std::unique_ptr<SqliteMapStore>> open(const std::string& path, const OpenOptions& options);
  // open(), attach_spare() for each of these and load(), as a mount would, with nobody who looks at the rows.
  static Result<std::unique_ptr<SqliteMapStore>> open_loaded(const std::string& path, const OpenOptions& options,
                                                             const std::map<SpareId, BlockDevice*>& spares);
  // Leaves everything as a crash would, except that ownership ends.
  ~SqliteMapStore() override;

  // Gives a spare its device, which must outlive the store, after checking that it is this spare of this volume and as
  // old as the map. Writes nothing. Errors: not_found (no such spare), foreign, too_new, corrupt, stale, device errors.
  Result<void> attach_spare(SpareId id, BlockDevice& device);

  // info().spares[].retired and .missing are complete after load().
  [[nodiscard]] const VolumeInfo& info() const override { return record_.info; }
  Result<void> load(const std::function<Result<void>(std::span<const RemapRow>)>& visit) override;
  Result<std::optional<RemapRow>> find_row(BlockIndex block) override;
  tl::expected<CommitReport, CommitFailure> commit(const MapTransaction& transaction) override;
  FinishedCommits finish_commits() override;
  Result<void> add_spare(const SpareInfo& spare, const std::string& identity, BlockDevice& device) override;
  Result<void> retire_spare(SpareId id) override;
  void wipe_spare(BlockDevice& device) const override;
  Result<void> close() override;

 private:
  enum class State : std::uint8_t { opened, loaded, failed, closed };

  // A spare that is there.
  struct Spare {
    std::size_t position;  // in record_
    TagTable tags;
    Superblock superblock;
    bool superblocks_agree = true;
    bool superblock_lost = false;    // and made anew from the map
    std::set<SlotIndex> doubtful{};  // slots whose tag may belong to a commit that failed
    // What it did not take of tell_spares(), and until when that is not tried again.
    std::optional<Superblock> not_taken{};
    std::chrono::steady_clock::time_point not_told_before{};
  };
  // What one commit does to one spare.
  struct SparePlan {
    Sequence sequence;                                   // of this commit
    std::map<SlotIndex, std::optional<RemapRow>> slots;  // owner after the commit; nothing: vacated
    RowTotals rows;                                      // on this spare after the commit
    bool takes_over = false;                             // a block that lived on another spare
    bool tags_written = false;  // step 1 was begun: tags on the spare may be those of this commit
  };
  struct Plan {
    std::map<SpareId, SparePlan> spares;
    std::vector<SlotAddress> stated_vacated;
    std::vector<SlotAddress> retired;
    std::vector<SlotAddress> tags_retired;  // of these, slots of blocks that the commit does not change
    std::size_t own_events = 0;             // of own_events_, those the commit writes
    std::uint64_t row_count = 0;
    std::uint64_t ruined_rows = 0;
    std::uint64_t row_digest = 0;
    std::optional<PrimaryRecord> primary;
    std::optional<SpareId> behind;  // a spare that is wanted and has not got its part of an earlier commit
  };

  SqliteMapStore(MapLock lock, OpenOptions options);

  // load.cpp
  Result<void> require_spares();
  [[nodiscard]] tl::unexpected<Error> damaged(const std::string& what) const;
  Result<void> check_small_tables();
  Result<void> check_index(std::uint64_t rows_digest);
  // The digest that the index of the rows must have.
  Result<std::uint64_t> load_rows(const std::function<Result<void>(std::span<const RemapRow>)>& visit,
                                  std::map<SpareId, SlotHashes>& hashes);
  Result<std::map<SpareId, TagMending>> check_index_and_tags(std::uint64_t rows_digest,
                                                             const std::map<SpareId, SlotHashes>& hashes);
  Result<TagMending> audit_spare(SpareId id, Spare& spare, const SlotHashes& hashes,
                                 const std::shared_future<Result<void>>& index);
  Result<void> begin_writing(std::map<SpareId, TagMending>& mendings);
  Result<void> mend_spare(SpareId id, Spare& spare, const TagMending& mending, std::vector<SlotAddress>& unwritable);
  void retire_in_memory(SpareId id, SlotIndex slot);
  Result<std::optional<RemapRow>> look_up(const char* condition, std::int64_t first,
                                          std::optional<std::int64_t> second);

  // commit.cpp
  tl::expected<CommitReport, CommitFailure> run_commit(const MapTransaction& transaction,
                                                       const std::vector<SpareId>& also_touched);
  Result<void> stage(const MapTransaction& transaction, const std::vector<SpareId>& also_touched, Plan& plan);
  Result<void> stage_put(const MapChange& change, Plan& plan);
  Result<void> stage_erase(const MapChange& change, Plan& plan);
  Result<void> stage_leaving(const RemapRow& old, Plan& plan);
  Result<void> stage_vacated(const MapChange& change, const std::optional<RemapRow>& old, Plan& plan);
  Result<void> stage_rest(const MapTransaction& transaction, Plan& plan);
  Result<SparePlan*> touch(SpareId id, Plan& plan);
  std::optional<CommitFailure> write_tags(Plan& plan);
  Result<TagTable::Outcome> write_spare_tags(SpareId id, Spare& spare, const SparePlan& plan,
                                             std::vector<SlotIndex>& unwritable);
  CommitFailure undo(CommitFailure failure, const Plan& plan);
  tl::expected<CommitReport, CommitFailure> finish(const Plan& plan);
  std::optional<SpareFailure> finish_spare(SpareId id, const SparePlan& plan, std::vector<SlotAddress>& uncleared);
  Result<std::vector<SlotIndex>> write_last_part(Spare& spare, const SparePlan& plan);

  // superblocks.cpp
  void bring_up_to_date(Superblock& superblock) const;
  Result<void> write_superblock(Spare& spare);
  Result<void> write_watermark(Spare& spare, Sequence watermark);
  void tell_spares(bool hides_losses = false);
  bool tell_spare(Spare& spare, const Superblock& what);
  Result<void> tell_of_move(Spare& spare);
  void take_back_move(Spare& spare);
  void note(const std::vector<std::string>& notes);

  // spares.cpp
  [[nodiscard]] Result<void> ready_to_change() const;
  Result<void> durably(const std::function<Result<void>()>& change);
  void know_rules();

  // Errors: store, when the map or its log was deleted, renamed or replaced: what went into it would be lost with it.
  [[nodiscard]] Result<void> in_place() const;
  bool settle_spares();
  Result<void> close_writer(bool clean);

  MapLock lock_;  // first: released after SQLite has closed the file
  const OpenOptions options_;
  State state_ = State::opened;
  VolumeRecord record_;
  std::unique_ptr<SQLite::Database> look_;  // until load() has accepted the map; always when read-only
  std::unique_ptr<MapWriter> writer_;       // from then on
  std::map<SpareId, Spare> spares_;
  std::optional<RowRules> rules_;
  std::set<SlotAddress> retired_;
  std::map<SpareId, SparePlan> unfinished_;  // what a spare has not got of a commit whose rows are durable
  CommitReport untold_report_;               // of these commits, so far
  std::vector<Event> own_events_;            // of the store itself, for the next commit
  bool tags_suspect_ = false;                // some tag is not as it should be, though no table knows
  bool untold_ = false;                      // a superblock does not say what tell_spares() had to say
  bool wrote_unasked_ = false;               // to a spare, without a transaction of the volume's
};

}  // namespace remapfs::store
