// SPDX-License-Identifier: Apache-2.0
#include "store/check.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>

#include "store/map_lock.hpp"
#include "store/row_codec.hpp"
#include "store/schema.hpp"
#include "store/slot_hashes.hpp"
#include "store/spare_superblocks.hpp"
#include "store/sql.hpp"
#include "store/tag_audit.hpp"
#include "store/volume_record.hpp"

namespace remapfs::store {
namespace {

constexpr std::uint64_t kNamed = 100;

// Collects findings, the first of each kind by name.
class Findings {
 public:
  using Severity = Finding::Severity;

  void add(Severity severity, const std::string& subject, std::string text) {
    if (++counts_[{severity, subject}] <= kNamed) list_.push_back({severity, subject, std::move(text)});
  }
  void error(const std::string& subject, std::string text) { add(Severity::error, subject, std::move(text)); }

  std::vector<Finding> take() {
    for (const auto& [kind, count] : counts_) {
      if (count <= kNamed) continue;
      list_.push_back({kind.first, kind.second, fmt::format("{} more like these", count - kNamed)});
    }
    return std::move(list_);
  }

 private:
  std::vector<Finding> list_;
  std::map<std::pair<Severity, std::string>, std::uint64_t> counts_;
};

// True for an answer about what is there; false when it could not be looked at.
bool is_verdict(const Error& error) {
  return error.code == Errc::foreign || error.code == Errc::too_new || error.code == Errc::corrupt ||
         error.code == Errc::stale || error.code == Errc::unsupported;
}

class Check {
 public:
  Check(SQLite::Database& database, const std::string& path, Findings& findings)
      : database_(database), path_(path), findings_(findings) {}

  Result<void> run(const std::map<SpareId, BlockDevice*>& spares) {
    const auto as_made = check_schema();
    if (!as_made) return fail(as_made.error());
    if (!*as_made) return {};
    if (auto done = check_database(); !done) return done;
    auto record = read_volume_record(database_, path_);
    if (!record && !is_verdict(record.error())) return fail(std::move(record.error()));
    if (!record) {
      findings_.error("volume", record.error().message);
      return {};
    }
    for (const SpareInfo& spare : record->info.spares) hashes_.emplace(spare.id, SlotHashes(spare.slots));
    if (auto done = check_rows(*record); !done) return done;
    for (std::size_t i = 0; i < record->info.spares.size(); ++i) {
      const auto device = spares.find(record->info.spares[i].id);
      if (device == spares.end() || device->second == nullptr) {
        findings_.add(Finding::Severity::note, "spare",
                      fmt::format("spare {} ({}) is missing and was not looked at", record->info.spares[i].id,
                                  record->info.spares[i].path));
      } else if (auto done = check_spare(*record, i, *device->second); !done) {
        return done;
      }
    }
    return {};
  }

 private:
  Result<void> check_database() {
    return tolerate_damage([&]() -> Result<void> {
      for (const char* pragma : {"PRAGMA integrity_check", "PRAGMA foreign_key_check"}) {
        SQLite::Statement check(database_, pragma);
        while (check.executeStep()) {
          const std::string answer = check.getColumn(0).getString();
          if (answer != "ok") findings_.error("database", fmt::format("{}: {}", path_, answer));
        }
      }
      return {};
    });
  }

  // True: whatever else is in the file may be asked.
  Result<bool> check_schema() {
    bool as_made = true;
    auto done = tolerate_damage([&]() -> Result<void> {
      if (auto ours = check_kind(database_, path_); !ours) {
        as_made = false;
        findings_.error("database", ours.error().message);
        return {};
      }
      const std::string different = find_schema_difference(database_);
      if (different.empty()) return {};
      as_made = false;
      findings_.error("database",
                      fmt::format("{}: its tables and views are not as they were made ({})", path_, different));
      return {};
    });
    if (!done) return fail(std::move(done.error()));
    return as_made;
  }

  Result<void> check_rows(const VolumeRecord& record) {
    std::vector<Sequence> sequences;
    for (const SpareRecord& spare : record.spares) sequences.push_back(spare.sequence);
    const RowRules rules(record.info, std::move(sequences));
    return tolerate_damage([&]() -> Result<void> {
      std::uint64_t count = 0;
      std::uint64_t digest = 0;
      std::optional<BlockIndex> previous;
      SQLite::Statement select(database_, "SELECT " REMAPFS_ROW_COLUMNS " FROM remaps ORDER BY block");
      while (select.executeStep()) {
        ++count;
        auto row = read_row(select);
        if (!row) {
          findings_.error("row", row.error().message);
          continue;
        }
        digest ^= row_digest(*row);
        if (previous && row->block <= *previous) {
          findings_.error("row", fmt::format("block {}: out of order", row->block.value()));
        }
        previous = row->block;
        check_row(*row, rules);
      }
      if (count != record.row_count) {
        findings_.error("volume", fmt::format("{} rows are there, {} should be", count, record.row_count));
      }
      rows_add_up_ = count == record.row_count && digest == record.row_digest;
      if (digest != record.row_digest) findings_.error("volume", "the digest of the rows does not match");
      return {};
    });
  }

  void check_row(const RemapRow& row, const RowRules& rules) {
    if (std::string problem = rules.problem_of_committed(row); !problem.empty()) {
      findings_.error("row", std::move(problem));
      return;
    }
    if (row.state != EntryState::remapped) return;
    SlotHashes& spare = hashes_.at(row.where.spare);
    spare.totals.enter(row_digest(row));
    if (!spare.set(row.where.slot, tag_digest(row.block, row.sequence, row.valid_mask, row.written_mask))) {
      findings_.error("row", fmt::format("block {}: slot {} of spare {} has another owner too", row.block.value(),
                                         row.where.slot.value(), row.where.spare));
    }
  }

  Result<void> check_spare(const VolumeRecord& record, std::size_t position, BlockDevice& device) {
    const SpareRecord& spare = record.spares[position];
    const SuperblockCopies copies = read_superblocks(device, spare.expected.layout);
    auto chosen = choose_superblock(copies, spare.expected, device.name());
    if (!chosen) {
      findings_.error("superblock", describe(chosen.error()));
      return {};
    }
    for (const Copy copy : kCopies) {
      if (copies[copy] && *copies[copy] == *chosen) continue;
      findings_.add(Finding::Severity::mended, "superblock",
                    fmt::format("spare {}: superblock {} is {}", device.name(), letter(copy),
                                copies[copy] ? "not the latest" : "damaged (" + describe(copies[copy].error()) + ")"));
    }
    auto compared = compare_watermark(chosen->watermark, spare.sequence, record.info.clean, device.name(), path_);
    if (!compared) {
      findings_.error("watermark", compared.error().message);
    } else if (chosen->watermark != spare.sequence) {
      findings_.add(Finding::Severity::mended, "watermark",
                    fmt::format("spare {}: one commit behind the map, as after a crash", device.name()));
    }
    if (rows_add_up_ && chosen->watermark == spare.sequence && chosen->volume_size.value() != 0 &&
        chosen->rows != hashes_.at(record.info.spares[position].id).totals) {
      findings_.add(Finding::Severity::mended, "superblock",
                    fmt::format("spare {}: vouches for other rows than the map has", device.name()));
    }
    if (auto known = compare_roll(chosen->spares, record.known, device.name(), path_); !known) {
      findings_.error("superblock", known.error().message);
    } else if (chosen->watermark == spare.sequence && chosen->spares.numbers.any() &&
               chosen->spares != SpareRoll::of(record.info.spares)) {
      findings_.add(Finding::Severity::mended, "superblock",
                    fmt::format("spare {}: knows of other spares than the map has", device.name()));
    }
    if (device.geometry().size < chosen->layout.device_size) {
      findings_.error("spare", fmt::format("spare {}: the device has shrunk", device.name()));
      return {};
    }
    return check_tags(record, position, *chosen, device);
  }

  Result<void> check_tags(const VolumeRecord& record, std::size_t position, const Superblock& superblock,
                          BlockDevice& device) {
    const SpareId id = record.info.spares[position].id;
    const TagTable table(device, superblock.layout, superblock.spare);
    const TagAudit audit{
        .rows = hashes_.at(id),
        .map_sequence = record.spares[position].sequence,
        .watermark = superblock.watermark,
        .map_clean = record.info.clean,
        .rows_vouched = false,
        .both_copies = true,
        .find_row = [&](SlotIndex slot) { return find_row(id, slot); },
        .is_bad_tag =
            [&](SlotIndex slot) {
              return std::find(record.bad_tag_slots.begin(), record.bad_tag_slots.end(), SlotAddress{id, slot}) !=
                     record.bad_tag_slots.end();
            },
        .on_finding =
            [&](const TagFinding& finding) {
              findings_.add(
                  finding.weight == TagFinding::Weight::refuse ? Finding::Severity::error : Finding::Severity::mended,
                  "tag", finding.text);
              return true;
            },
    };
    auto mending = audit_tags(table, audit);
    if (mending) return {};
    if (mending.error().code == Errc::no_memory) return fail(std::move(mending.error()));
    findings_.error("tag", fmt::format("spare {}: {}", device.name(), describe(mending.error())));
    return {};
  }

  Result<std::optional<RemapRow>> find_row(SpareId id, SlotIndex slot) {
    return sql_guard(path_, [&]() -> Result<std::optional<RemapRow>> {
      // Not through the index, which may be what is damaged.
      SQLite::Statement select(
          database_, "SELECT " REMAPFS_ROW_COLUMNS " FROM remaps NOT INDEXED WHERE spare_id = ? AND slot = ?");
      select.bind(1, std::int64_t{id});
      select.bind(2, to_sql(slot.value()));
      if (!select.executeStep()) return std::nullopt;
      auto row = read_row(select);
      if (!row) return fail(std::move(row.error()));
      return *row;
    });
  }

  // A damaged database is a finding, not a reason to stop.
  template <class Body>
  Result<void> tolerate_damage(Body&& body) {
    auto done = sql_guard(path_, std::forward<Body>(body));
    if (done || !is_verdict(done.error())) return done;
    findings_.error("database", done.error().message);
    return {};
  }

  SQLite::Database& database_;
  const std::string& path_;
  Findings& findings_;
  std::map<SpareId, SlotHashes> hashes_;
  bool rows_add_up_ = false;
};

}  // namespace

Result<VolumeInfo> members_of(const std::string& path) {
  auto lock = MapLock::acquire(path, true);
  if (!lock) return fail(std::move(lock.error()));
  if (auto header = lock->check_header(); !header) return fail(std::move(header.error()));
  auto database = open_database(lock->path(), SqlAccess::look);
  if (!database) return fail(std::move(database.error()));
  auto record = read_volume_and_devices(**database, lock->path());
  if (!record) return fail(std::move(record.error()));
  return std::move(record->info);
}

Result<std::vector<Finding>> check_map(const std::string& path, const std::map<SpareId, BlockDevice*>& spares) {
  auto lock = MapLock::acquire(path, true);
  if (!lock) return fail(std::move(lock.error()));
  Findings findings;
  auto header = lock->check_header();
  if (!header && !is_verdict(header.error())) return fail(std::move(header.error()));
  if (!header) {
    findings.error("database", header.error().message);
    return findings.take();
  }
  auto database = open_database(lock->path(), SqlAccess::look);
  if (!database && !is_verdict(database.error())) return fail(std::move(database.error()));
  if (!database) {
    findings.error("database", database.error().message);
    return findings.take();
  }
  if (auto done = Check(**database, lock->path(), findings).run(spares); !done) return fail(std::move(done.error()));
  return findings.take();
}

}  // namespace remapfs::store
