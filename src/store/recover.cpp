// SPDX-License-Identifier: Apache-2.0
#include "store/recover.hpp"

#include <fmt/format.h>

#include <map>
#include <optional>
#include <utility>

#include "store/join_survivors.hpp"
#include "store/new_map.hpp"
#include "store/sqlite_map_store.hpp"

namespace remapfs::store {
namespace {

class Recovery {
 public:
  explicit Recovery(const RecoverySpec& spec) : spec_(spec) {}

  tl::expected<Recovered, RecoveryFailure> run() {
    if (auto done = read(); !done) return tl::unexpected(RecoveryFailure{std::move(done.error()), {}});
    if (auto done = judge(); !done) {
      return tl::unexpected(RecoveryFailure{std::move(done.error()), std::move(joint_.doubts)});
    }
    auto info = make();
    if (!info) return tl::unexpected(RecoveryFailure{std::move(info.error()), {}});
    return Recovered{std::move(*info), joint_.proven, std::move(joint_.doubts)};
  }

 private:
  Result<void> read() {
    if (auto free = require_free_name(spec_.map_path); !free) return free;
    REMAPFS_INVARIANT(!spec_.spares.empty());
    for (const RecoverySpare& spare : spec_.spares) {
      auto tags = read_surviving_tags(*spare.device);
      if (!tags) return fail(std::move(tags.error()));
      given_.emplace(tags->superblock.id, &spare);
      survivors_.push_back({spare.path, std::move(*tags)});
    }
    return {};
  }

  Result<void> judge() {
    auto joint = join_survivors(survivors_);
    if (!joint) return fail(std::move(joint.error()));
    joint_ = std::move(*joint);
    if (auto same = check_primary(); !same) return same;
    if (joint_.proven || spec_.accept_stale) return {};
    return fail(
        Errc::stale,
        fmt::format("{}, not recovered: what the spare says is in doubt, and blocks might be read with old or wrong "
                    "contents; bring the map back, or add --accept-stale",
                    spec_.map_path));
  }

  // A change of the primary may have been cut off before every spare knew of it; both have everything then.
  Result<void> check_primary() {
    std::optional<Error> another;
    std::size_t others = 0;
    for (const SpareSurvivors& spare : survivors_) {
      const Superblock& superblock = spare.tags.superblock;
      // A primary that took another's place may be larger; it is known by its identity then.
      const bool larger = superblock.volume_size < spec_.primary_size && superblock.volume_size.value() != 0 &&
                          !superblock.primary_identity.empty() && spec_.check_primary;
      if (superblock.volume_size != spec_.primary_size && !larger) {
        return fail(
            Errc::foreign,
            fmt::format("{}, has {} bytes, but the volume of spare {} has {}: another primary, give the right "
                        "one",
                        spec_.primary_path, spec_.primary_size.value(), spare.path, superblock.volume_size.value()));
      }
      if (superblock.primary_identity.empty() || !spec_.check_primary) continue;
      auto same = spec_.check_primary(superblock.primary_identity);
      if (same) continue;
      ++others;
      joint_.doubt(fmt::format("spare {}, remembers another primary ({})", spare.path, describe(same.error())));
      another = std::move(same.error());
    }
    if (others == 0 || others < survivors_.size()) return {};
    return fail(std::move(*another));
  }

  Result<VolumeInfo> make() {
    auto map = TemporaryMap::make_beside(spec_.map_path);
    if (!map) return fail(std::move(map.error()));
    auto info = fill_map(map->path(), contents());
    if (!info) return info;
    std::map<SpareId, BlockDevice*> devices;
    for (const auto& [id, spare] : given_) devices.emplace(id, spare->device);
    // As a mount would.
    auto accepted = SqliteMapStore::open_loaded(map->path(), {.read_only = true, .degraded = false}, devices);
    if (!accepted) {
      return fail(accepted.error().code, fmt::format("{}, not recovered: what the spare says makes no sound map ({}), "
                                                     "bring the map back",
                                                     spec_.map_path, describe(accepted.error())));
    }
    accepted->reset();
    if (auto named = map->appear_as(spec_.map_path); !named) return fail(std::move(named.error()));
    info->map_path = spec_.map_path;
    return info;
  }

  NewMap contents() {
    const Superblock& first = survivors_.front().tags.superblock;
    NewMap map;
    map.uuid = first.volume.to_string();
    map.block_size = first.layout.block_size;
    map.size = first.volume_size;
    map.primary_path = spec_.primary_path;
    map.primary_identity = spec_.primary_identity;
    for (const SpareSurvivors& survivors : survivors_) {
      const Superblock& superblock = survivors.tags.superblock;
      const RecoverySpare& spare = *given_.at(superblock.id);
      map.spares.push_back({superblock, spare.path, spare.identity, superblock.watermark, spare.begin});
      for (const SlotIndex slot : survivors.tags.unknown) map.retired.push_back({{superblock.id, slot}, "slot", {}});
    }
    map.former = missing();
    map.rows = [this](const NewMap::PutRow& put) -> Result<void> {
      for (const RemapRow& row : joint_.rows) {
        if (auto done = put(row, {}, {}); !done) return done;
      }
      return {};
    };
    map.events.push_back(
        {0, {}, {"recovered", std::nullopt, fmt::format("{} blocks from the spare", joint_.rows.size())}});
    for (const std::string& doubt : joint_.doubts)
      map.events.push_back({0, {}, {"recovery-doubt", std::nullopt, doubt}});
    return map;
  }

  // Whoever names one of them is not younger than this map.
  [[nodiscard]] std::vector<NewMapSpare> missing() const {
    SpareRoll::Numbers named;
    for (const SpareSurvivors& survivors : survivors_) named |= survivors.tags.superblock.spares.numbers;
    std::vector<NewMapSpare> spares;
    for (std::size_t id = 1; id < named.size(); ++id) {
      if (!named[id] || given_.contains(static_cast<SpareId>(id))) continue;
      NewMapSpare spare;
      spare.superblock.id = static_cast<SpareId>(id);
      spares.push_back(std::move(spare));
    }
    return spares;
  }

  const RecoverySpec& spec_;
  std::map<SpareId, const RecoverySpare*> given_;
  std::vector<SpareSurvivors> survivors_;
  JointSurvivors joint_;
};

}  // namespace

tl::expected<Recovered, RecoveryFailure> recover_map(const RecoverySpec& spec) { return Recovery(spec).run(); }

}  // namespace remapfs::store
