// SPDX-License-Identifier: Apache-2.0
#include "report/disk_regions.hpp"

#include <algorithm>
#include <bit>
#include <string>

#include "core/utc.hpp"

namespace remapfs::report {

using Json = nlohmann::ordered_json;

namespace {

constexpr std::size_t kHourDigits = 13;  // "2026-11-28T05"

std::array<char, 24> compact(std::string_view time) {
  std::array<char, 24> text{};
  time.copy(text.data(), text.size() - 1);
  return text;
}

void add_to(DiskRegions::Counts& sum, const DiskRegions::Counts& more) {
  sum.remapped += more.remapped;
  sum.lost_sectors += more.lost_sectors;
  sum.weak += more.weak;
  sum.lost += more.lost;
}

std::string causes_text(std::uint32_t causes) {
  std::string text;
  for (std::uint32_t left = causes; left != 0; left &= left - 1) {
    const auto cause = static_cast<Cause>(std::countr_zero(left));
    text += (text.empty() ? "" : ", ") + std::string(to_string(cause));
  }
  return text;
}

}  // namespace

bool DiskRegions::belongs(const Region& region, const Region& next) const {
  if (unit_ == 1) return region.blocks.end == next.blocks.begin && region.state == next.state;
  return (region.blocks.end.value() - 1) / unit_ == next.blocks.begin.value() / unit_;
}

void DiskRegions::merge(Region& region, const Region& next) {
  region.blocks.end = next.blocks.end;
  add_to(region.counts, next.counts);
  region.causes |= next.causes;
  region.first = std::min(region.first, next.first);
  region.last = std::max(region.last, next.last);
}

void DiskRegions::coarsen() {
  unit_ *= 2;
  std::size_t kept = 0;
  for (std::size_t i = 1; i < regions_.size(); ++i) {
    if (belongs(regions_[kept], regions_[i])) {
      merge(regions_[kept], regions_[i]);
    } else {
      regions_[++kept] = regions_[i];
    }
  }
  regions_.resize(kept + 1);
}

void DiskRegions::add(const RemapRow& row, std::string_view created_at, std::string_view updated_at) {
  Region next;
  next.blocks = {row.block, row.block + 1};
  next.state = row.state;
  const std::uint64_t begin = blocks_.begin_of(row.block).value();
  const std::uint64_t inside = std::min(blocks_.block_size(), size_.value() - std::min(size_.value(), begin));
  const SectorMask on_disk = BlockGeometry::sectors_covered(0, inside);
  next.counts.lost_sectors = static_cast<std::uint64_t>(std::popcount(on_disk & ~row.valid_mask));
  next.counts.remapped = row.state == EntryState::remapped ? 1 : 0;
  next.counts.weak = row.state == EntryState::weak ? 1 : 0;
  next.counts.lost = row.state == EntryState::lost ? 1 : 0;
  next.causes = std::uint32_t{1} << static_cast<unsigned>(row.cause);
  next.first = compact(created_at);
  next.last = compact(updated_at);

  const std::string_view hour = created_at.substr(0, kHourDigits);
  auto place = hours_.find(hour);
  if (place == hours_.end()) place = hours_.emplace(hour, Counts{}).first;
  add_to(place->second, next.counts);

  if (!regions_.empty() && belongs(regions_.back(), next)) {
    merge(regions_.back(), next);
  } else {
    regions_.push_back(next);
  }
  while (regions_.size() > 2 * kMostRegions) coarsen();
}

Json DiskRegions::regions() const {
  DiskRegions few(*this);
  while (few.regions_.size() > kMostRegions) few.coarsen();
  const auto seconds = [](const Time& time) { return utc_seconds(time.data()).value_or(0); };
  Json list = Json::array();
  for (const Region& region : few.regions_) {
    list.push_back({region.blocks.begin.value(), region.blocks.end.value(), region.counts.remapped,
                    region.counts.lost_sectors, region.counts.weak, seconds(region.first), seconds(region.last),
                    causes_text(region.causes), region.counts.lost});
  }
  return {{"unit_blocks", few.unit_}, {"list", std::move(list)}};
}

Json DiskRegions::growth() const {
  Json points = Json::array();
  Counts sum;
  const std::size_t step = (hours_.size() + kMostPoints - 1) / kMostPoints;
  std::size_t i = 0;
  for (const auto& [hour, counts] : hours_) {
    add_to(sum, counts);
    ++i;
    // The last one is where it stands now.
    if (i % step != 0 && i != hours_.size()) continue;
    points.push_back({hour + ":00:00Z", sum.remapped, sum.lost_sectors, sum.weak});
  }
  return points;
}

}  // namespace remapfs::report
