// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "store/log_renewal.hpp"
#include "store/read_ahead.hpp"
#include "store/row_consumer.hpp"
#include "store/sql.hpp"
#include "store/sqlite_map_store.hpp"

// How a map is accepted: everything is read and compared first, without a single write; then what a crash left behind
// is put right, and the map is marked as in use.

namespace remapfs::store {

Result<void> SqliteMapStore::load(const std::function<Result<void>(std::span<const RemapRow>)>& visit) {
  REMAPFS_INVARIANT(state_ == State::opened);
  state_ = State::failed;  // until everything has been accepted
  const ReadAhead read_ahead(lock_.descriptor());
  if (auto done = require_spares(); !done) return done;
  if (auto done = check_small_tables(); !done) return done;
  know_rules();

  std::map<SpareId, TagMending> mendings;
  {
    std::map<SpareId, SlotHashes> hashes;
    for (const SpareInfo& spare : record_.info.spares) hashes.emplace(spare.id, SlotHashes(spare.slots));
    const auto digest_for_index = load_rows(visit, hashes);
    if (!digest_for_index) return fail(digest_for_index.error());
    auto audited = check_index_and_tags(*digest_for_index, hashes);
    if (!audited) return fail(std::move(audited.error()));
    mendings = std::move(*audited);
    for (auto& [id, spare] : spares_) {
      spare.superblock.rows = hashes.at(id).totals;
      bring_up_to_date(spare.superblock);
    }
  }
  for (const auto& [id, mending] : mendings) {
    for (const SlotIndex slot : mending.unreadable) retire_in_memory(id, slot);
  }
  for (const SpareInfo& spare : record_.info.spares) {
    for (const SlotIndex slot : spare.retired) retired_.insert({spare.id, slot});
  }
  if (!options_.read_only) {
    if (auto done = begin_writing(mendings); !done) return done;
  }
  state_ = State::loaded;
  return {};
}

Result<void> SqliteMapStore::require_spares() {
  for (SpareInfo& spare : record_.info.spares) {
    if (spares_.contains(spare.id)) continue;
    if (!options_.degraded) {
      return fail(Errc::not_found,
                  fmt::format("{}, spare {} ({}) is missing, bring it back or mount with -o ro,degraded",
                              record_.info.map_path, spare.id, spare.path));
    }
    spare.missing = true;
  }
  return {};
}

tl::unexpected<Error> SqliteMapStore::damaged(const std::string& what) const {
  return fail(Errc::corrupt, fmt::format("{}, {}, run `remapfs check`", lock_.path(), what));
}

// Everything but the rows, which are read one by one, and their index.
Result<void> SqliteMapStore::check_small_tables() {
  return sql_guard(lock_.path(), [&]() -> Result<void> {
    for (const char* table :
         {"sqlite_schema", "volume", "devices", "retired_slots", "scrub", "smart", "events", "sqlite_sequence"}) {
      const std::string answer = look_->execAndGet(fmt::format("PRAGMA quick_check({})", table)).getString();
      if (answer != "ok") return damaged(fmt::format("the database is damaged ({})", answer));
    }
    return {};
  });
}

// Reads the whole index and holds it against the digest of what the rows say.
Result<void> SqliteMapStore::check_index(std::uint64_t rows_digest) {
  return sql_guard(lock_.path(), [&]() -> Result<void> {
    SQLite::Statement select(*look_,
                             "SELECT spare_id, slot, block FROM remaps INDEXED BY sqlite_autoindex_remaps_1 "
                             "ORDER BY spare_id, slot");
    std::uint64_t digest = 0;
    if (select.executeStep()) {
      const std::array<SQLite::Column, 3> columns{select.getColumn(0), select.getColumn(1), select.getColumn(2)};
      const auto number = [&](std::size_t i) { return static_cast<std::uint64_t>(columns[i].getInt64()); };
      do digest ^= index_digest(number(0), number(1), number(2));
      while (select.executeStep());
    }
    if (digest != rows_digest) return damaged("the index of the rows does not match them");
    return {};
  });
}

Result<std::uint64_t> SqliteMapStore::load_rows(const std::function<Result<void>(std::span<const RemapRow>)>& visit,
                                                std::map<SpareId, SlotHashes>& hashes) {
  // Rows go on in batches: what is done with each of them takes memory all over the place, which is asked for before.
  constexpr std::size_t kBatch = 4096;
  constexpr std::size_t kPrefetched = 16;
  std::uint64_t count = 0;
  std::uint64_t digest = 0;
  std::uint64_t digest_for_index = 0;
  const auto take_in = [&](std::span<const RemapRow> rows) -> Result<void> {
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (i + kPrefetched < rows.size() && rows[i + kPrefetched].state == EntryState::remapped) {
        hashes.at(rows[i + kPrefetched].where.spare).prefetch(rows[i + kPrefetched].where.slot);
      }
      const RemapRow& row = rows[i];
      const std::uint64_t share = row_digest(row);
      digest ^= share;
      digest_for_index ^= index_digest(row.where.spare, row.where.slot.value(), row.block.value());
      if (row.ruined()) ++record_.ruined_rows;
      if (row.state != EntryState::remapped) continue;
      const std::uint64_t tag = tag_digest(row.block, row.sequence, row.valid_mask, row.written_mask);
      SlotHashes& spare = hashes.at(row.where.spare);
      spare.totals.enter(share);
      if (!spare.set(row.where.slot, tag)) {
        return damaged(fmt::format("slot {} of spare {} has two owners", row.where.slot.value(), row.where.spare));
      }
    }
    count += rows.size();
    return visit(rows);
  };
  auto done = sql_guard(lock_.path(), [&]() -> Result<void> {
    RowConsumer consumer(
        [&](std::span<const RemapRow> rows) { return sql_guard(lock_.path(), [&] { return take_in(rows); }); });
    std::vector<RemapRow> batch;
    batch.reserve(std::min<std::uint64_t>(kBatch, record_.row_count));
    SQLite::Statement select(*look_, "SELECT " REMAPFS_ROW_COLUMNS " FROM remaps ORDER BY block");
    std::optional<RowColumns> columns;
    std::optional<BlockIndex> previous;
    while (select.executeStep()) {
      if (!columns) columns.emplace(select);
      auto row = columns->read();
      if (!row) return damaged(row.error().message);
      if (const std::string problem = rules_->problem_of_committed(*row); !problem.empty()) return damaged(problem);
      // The order of a damaged tree is not to be believed.
      if (previous && row->block <= *previous) return damaged("rows are out of order");
      previous = row->block;
      batch.push_back(*row);
      if (batch.size() < kBatch) continue;
      if (auto passed = consumer.hand_over(batch); !passed) return passed;
    }
    if (!batch.empty()) {
      if (auto passed = consumer.hand_over(batch); !passed) return passed;
    }
    return consumer.finish();
  });
  if (!done) return fail(std::move(done.error()));
  if (count != record_.row_count) {
    return damaged(fmt::format("{} rows are there, {} should be", count, record_.row_count));
  }
  if (digest != record_.row_digest) return damaged("the digest of the rows does not match: they were changed");
  return digest_for_index;
}

// The index of the rows and the tags of the spares have nothing to do with each other: they are read at the same time.
Result<std::map<SpareId, TagMending>> SqliteMapStore::check_index_and_tags(
    std::uint64_t rows_digest, const std::map<SpareId, SlotHashes>& hashes) {
  // Deferred, that is, done by whoever asks first, where a thread cannot be had.
  const std::shared_future<Result<void>> index =
      std::async(std::launch::async | std::launch::deferred, [&] { return check_index(rows_digest); }).share();
  std::map<SpareId, TagMending> mendings;
  Result<void> audited;
  for (auto& [id, spare] : spares_) {
    auto mending = audit_spare(id, spare, hashes.at(id), index);
    if (mending) {
      mendings.emplace(id, std::move(*mending));
    } else {
      audited = fail(std::move(mending.error()));
      break;
    }
  }
  if (const Result<void>& checked = index.get(); !checked) return fail(checked.error());
  if (!audited) return fail(std::move(audited.error()));
  return mendings;
}

Result<TagMending> SqliteMapStore::audit_spare(SpareId id, Spare& spare, const SlotHashes& hashes,
                                               const std::shared_future<Result<void>>& index) {
  std::optional<Error> refusal;
  std::uint64_t mended = 0;
  std::string first_mended;
  const TagAudit audit{
      .rows = hashes,
      .map_sequence = record_.spares[spare.position].sequence,
      .watermark = spare.superblock.watermark,
      .map_clean = record_.info.clean,
      .rows_vouched = options_.repair && !spare.superblock_lost && spare.superblock.volume_size.value() != 0 &&
                      spare.superblock.watermark == record_.spares[spare.position].sequence &&
                      spare.superblock.rows == hashes.totals,
      .both_copies = !record_.info.clean || options_.repair,
      .find_row = [&](SlotIndex slot) -> Result<std::optional<RemapRow>> {
        // Rows are found by the index and over its connection, which serves one at a time.
        if (const Result<void>& checked = index.get(); !checked) return fail(checked.error());
        return look_up("spare_id = ? AND slot = ?", id, to_sql(slot.value()));
      },
      .is_bad_tag =
          [&](SlotIndex slot) {
            return std::find(record_.bad_tag_slots.begin(), record_.bad_tag_slots.end(), SlotAddress{id, slot}) !=
                   record_.bad_tag_slots.end();
          },
      .on_finding =
          [&](const TagFinding& finding) {
            if (finding.weight == TagFinding::Weight::refuse) {
              refusal = Error{finding.code, 0,
                              fmt::format("{}, {}, run `remapfs check`", record_.info.map_path, finding.text)};
              return false;
            }
            if (mended++ == 0) first_mended = finding.text;
            return true;
          },
  };
  auto mending = audit_tags(spare.tags, audit);
  if (mending && refusal) return fail(std::move(*refusal));
  if (mending && spare.superblock_lost && mending->confirmed == 0) {
    return fail(Errc::foreign, fmt::format("spare {}, nothing on it shows that it is the spare of {}, give the device "
                                           "the map names",
                                           spare.tags.device().name(), record_.info.map_path));
  }
  if (mending && mended > 0) {
    own_events_.push_back(
        {"tags-mended", std::nullopt, fmt::format("spare {}: {} tags put right; first: {}", id, mended, first_mended)});
  }
  return mending;
}

void SqliteMapStore::retire_in_memory(SpareId id, SlotIndex slot) {
  std::vector<SlotIndex>& retired = record_.info.spares[static_cast<std::size_t>(record_.position_of(id))].retired;
  const auto place = std::lower_bound(retired.begin(), retired.end(), slot);
  if (place == retired.end() || *place != slot) retired.insert(place, slot);
  retired_.insert({id, slot});
}

Result<void> SqliteMapStore::begin_writing(std::map<SpareId, TagMending>& mendings) {
  look_.reset();
  if (auto renewed = renew_log(lock_.path()); !renewed) return renewed;
  auto writer = MapWriter::open(lock_.path());
  if (!writer) return fail(std::move(writer.error()));
  writer_ = std::move(*writer);

  const auto transaction = [&](auto&& body) -> Result<void> {
    if (auto done = writer_->begin(); !done) return done;
    if (auto done = writer_->set_clean(false); !done) return done;
    if (auto done = body(); !done) return done;
    if (auto done = writer_->prepare(); !done) return done;
    return writer_->commit();
  };
  // Once tags differ from what a clean map promises, a crash must find it marked.
  const bool any =
      std::any_of(mendings.begin(), mendings.end(), [](const auto& m) { return !m.second.updates.empty(); });
  if (any && record_.info.clean) {
    if (auto done = transaction([]() -> Result<void> { return {}; }); !done) return done;
  }
  std::vector<SlotAddress> unwritable;
  for (auto& [id, spare] : spares_) {
    if (auto done = mend_spare(id, spare, mendings.at(id), unwritable); !done) return done;
  }
  auto opened = transaction([&]() -> Result<void> {
    for (const auto& [id, spare] : spares_) {
      if (auto done = writer_->set_sequence(id, record_.spares[spare.position].sequence + 1); !done) return done;
    }
    for (const SlotAddress slot : unwritable) {
      if (auto done = writer_->retire(slot, "tag"); !done) return done;
    }
    for (const Event& event : own_events_) {
      if (auto done = writer_->add_event(event); !done) return done;
    }
    return {};
  });
  if (!opened) return opened;
  own_events_.clear();
  for (auto& [id, spare] : spares_) {
    Sequence& sequence = record_.spares[spare.position].sequence;
    ++sequence;
    if (auto done = write_watermark(spare, sequence); !done) return done;
    if (auto done = spare.tags.device().sync(); !done) return done;
  }
  return {};
}

// Brings the watermark up to the map and the tags in line with the rows, durably.
Result<void> SqliteMapStore::mend_spare(SpareId id, Spare& spare, const TagMending& mending,
                                        std::vector<SlotAddress>& unwritable) {
  const Sequence sequence = record_.spares[spare.position].sequence;
  // After an end that was not orderly it is written again whatever it says: a sync that failed may have left it in a
  // cache, and the map must not go on before it is known to be durable.
  const bool watermark_due = spare.superblock.watermark != sequence || !spare.superblocks_agree || !record_.info.clean;
  if (!watermark_due && mending.updates.empty()) return {};
  // The watermark first: a tag of the next sequence is only ever found above a watermark that has reached the map.
  if (watermark_due) {
    if (auto done = write_watermark(spare, sequence); !done) return done;
    if (auto done = spare.tags.device().sync(); !done) return done;
  }
  if (mending.updates.empty()) return {};
  auto outcome = spare.tags.update(mending.updates);
  if (!outcome) return fail(std::move(outcome.error()));
  note(outcome->notes);
  for (const SlotIndex slot : outcome->bad) {
    if (std::binary_search(mending.owned.begin(), mending.owned.end(), slot)) {
      unwritable.push_back({id, slot});
    } else {
      retire_in_memory(id, slot);
    }
    tags_suspect_ = true;
  }
  return spare.tags.device().sync();
}

}  // namespace remapfs::store
