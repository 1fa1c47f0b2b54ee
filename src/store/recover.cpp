// SPDX-License-Identifier: Apache-2.0
#include "store/recover.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "store/new_map.hpp"
#include "store/sqlite_map_store.hpp"
#include "store/surviving_tags.hpp"

namespace remapfs::store {
namespace {

class Recovery {
 public:
  explicit Recovery(const RecoverySpec& spec) : spec_(spec) {}

  tl::expected<Recovered, RecoveryFailure> run() {
    if (auto done = read(); !done) return tl::unexpected(RecoveryFailure{std::move(done.error()), {}});
    if (auto done = judge(); !done) {
      return tl::unexpected(RecoveryFailure{std::move(done.error()), std::move(result_.doubts)});
    }
    if (auto done = make(); !done) return tl::unexpected(RecoveryFailure{std::move(done.error()), {}});
    return std::move(result_);
  }

 private:
  struct Source {
    RecoverySpare spare;
    SurvivingTags tags;
  };

  Result<void> read() {
    if (auto free = require_free_name(spec_.map_path); !free) return free;
    REMAPFS_INVARIANT(!spec_.spares.empty());
    for (const RecoverySpare& spare : spec_.spares) {
      auto tags = read_surviving_tags(*spare.device);
      if (!tags) return fail(std::move(tags.error()));
      sources_.push_back({spare, std::move(*tags)});
    }
    std::sort(sources_.begin(), sources_.end(),
              [](const Source& l, const Source& r) { return l.tags.superblock.id < r.tags.superblock.id; });
    for (std::size_t i = 0; i < sources_.size(); ++i) {
      if (auto fits = check_member(sources_[i], i); !fits) return fits;
    }
    return check_primary();
  }

  Result<void> check_member(const Source& source, std::size_t position) {
    const Superblock& mine = source.tags.superblock;
    const Superblock& first = sources_.front().tags.superblock;
    if (mine.volume != first.volume) {
      return fail(
          Errc::foreign,
          fmt::format("spare {}, belongs to another volume ({}) than {} ({}), give spares of one", source.spare.path,
                      mine.volume.to_string(), sources_.front().spare.path, first.volume.to_string()));
    }
    if (mine.layout.block_size != first.layout.block_size || mine.volume_size != first.volume_size) {
      return fail(Errc::corrupt, fmt::format("spare {}, its block size or volume size differs from that of {}, bring "
                                             "the map back",
                                             source.spare.path, sources_.front().spare.path));
    }
    // Without one of the spares its blocks would be read from the primary.
    if (mine.id != position + 1) {
      return fail(Errc::not_found, fmt::format("spare {}, is number {} of its volume, and number {} was not given "
                                               "(or one twice), give each spare of the volume once",
                                               source.spare.path, mine.id, position + 1));
    }
    return {};
  }

  Result<void> check_primary() {
    for (const Source& source : sources_) {
      const Superblock& superblock = source.tags.superblock;
      // A primary that took another's place may be larger; it is known by its identity then.
      const bool larger = superblock.volume_size < spec_.primary_size && superblock.volume_size.value() != 0 &&
                          !superblock.primary_identity.empty() && spec_.check_primary;
      if (superblock.volume_size != spec_.primary_size && !larger) {
        return fail(Errc::foreign,
                    fmt::format("{}, has {} bytes, but the volume of spare {} has {}: another primary, give the right "
                                "one",
                                spec_.primary_path, spec_.primary_size.value(), source.spare.path,
                                superblock.volume_size.value()));
      }
      if (superblock.primary_identity.empty() || !spec_.check_primary) continue;
      if (auto same = spec_.check_primary(superblock.primary_identity); !same) return same;
    }
    return {};
  }

  Result<void> judge() {
    result_.proven = true;
    if (std::any_of(sources_.begin(), sources_.end(), [](const Source& s) { return s.tags.superblock.hides_losses; })) {
      result_.proven = false;
      result_.doubts.emplace_back(
          "primary, the map knew of lost sectors in whose place something else can be read, and only the map knew "
          "which");
    }
    for (const Source& source : sources_) {
      result_.proven = result_.proven && source.tags.proven;
      for (const std::string& doubt : source.tags.doubts) {
        result_.doubts.push_back(fmt::format("spare {}, {}", source.spare.path, doubt));
      }
    }
    if (auto merged = merge(); !merged) return merged;
    if (result_.proven || spec_.accept_stale) return {};
    return fail(
        Errc::stale,
        fmt::format("{}, not recovered: what the spare says is in doubt, and blocks might be read with old or wrong "
                    "contents; bring the map back, or add --accept-stale",
                    spec_.map_path));
  }

  Result<void> merge() {
    for (Source& source : sources_) {
      const auto middle = static_cast<std::ptrdiff_t>(rows_.size());
      rows_.insert(rows_.end(), source.tags.rows.begin(), source.tags.rows.end());
      source.tags.rows = {};
      std::inplace_merge(rows_.begin(), rows_.begin() + middle, rows_.end(),
                         [](const RemapRow& l, const RemapRow& r) { return l.block < r.block; });
    }
    const auto twice = std::adjacent_find(rows_.begin(), rows_.end(),
                                          [](const RemapRow& l, const RemapRow& r) { return l.block == r.block; });
    if (twice == rows_.end()) return {};
    return fail(Errc::corrupt,
                fmt::format("block {}, is on two spares, and nothing says which is the latest; bring the "
                            "map back",
                            twice->block.value()));
  }

  Result<void> make() {
    auto map = TemporaryMap::make_beside(spec_.map_path);
    if (!map) return fail(std::move(map.error()));
    auto info = fill_map(map->path(), contents());
    if (!info) return fail(std::move(info.error()));
    std::map<SpareId, BlockDevice*> devices;
    for (const Source& source : sources_) devices.emplace(source.tags.superblock.id, source.spare.device);
    // As a mount would.
    auto accepted = SqliteMapStore::open_loaded(map->path(), {.read_only = true, .degraded = false}, devices);
    if (!accepted) {
      return fail(accepted.error().code, fmt::format("{}, not recovered: what the spare says makes no sound map ({}), "
                                                     "bring the map back",
                                                     spec_.map_path, describe(accepted.error())));
    }
    accepted->reset();
    if (auto named = map->appear_as(spec_.map_path); !named) return named;
    result_.info = std::move(*info);
    result_.info.map_path = spec_.map_path;
    return {};
  }

  NewMap contents() {
    const Superblock& first = sources_.front().tags.superblock;
    NewMap map;
    map.uuid = first.volume.to_string();
    map.block_size = first.layout.block_size;
    map.size = first.volume_size;
    map.primary_path = spec_.primary_path;
    map.primary_identity = spec_.primary_identity;
    for (const Source& source : sources_) {
      const Superblock& superblock = source.tags.superblock;
      map.spares.push_back(
          {superblock, source.spare.path, source.spare.identity, superblock.watermark, source.spare.begin});
      for (const SlotIndex slot : source.tags.unknown) map.retired.push_back({{superblock.id, slot}, "slot", {}});
    }
    map.rows = [this](const NewMap::PutRow& put) -> Result<void> {
      for (const RemapRow& row : rows_) {
        if (auto done = put(row, {}, {}); !done) return done;
      }
      return {};
    };
    map.events.push_back({0, {}, {"recovered", std::nullopt, fmt::format("{} blocks from the spare", rows_.size())}});
    for (const std::string& doubt : result_.doubts)
      map.events.push_back({0, {}, {"recovery-doubt", std::nullopt, doubt}});
    return map;
  }

  const RecoverySpec& spec_;
  std::vector<Source> sources_;
  std::vector<RemapRow> rows_;
  Recovered result_;
};

}  // namespace

tl::expected<Recovered, RecoveryFailure> recover_map(const RecoverySpec& spec) { return Recovery(spec).run(); }

}  // namespace remapfs::store
