// SPDX-License-Identifier: Apache-2.0
#include "e2e/kill/region_history.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace remapfs::testing {

RegionHistory::RegionHistory(std::uint64_t volume, std::uint64_t thread, SectorRange sectors)
    : volume_(volume), thread_(thread), sectors_(sectors), states_(sectors.size()) {}

SectorName RegionHistory::name(std::uint64_t sector, std::uint64_t generation) const {
  return {volume_, thread_, sector, generation};
}

std::uint64_t RegionHistory::begin_change(SectorRange range, bool zeros) {
  ++last_;
  for (std::uint64_t sector = range.begin; sector < range.end; ++sector) at(sector).later.push_back({last_, zeros});
  return last_;
}

void RegionHistory::acknowledge(SectorRange range) {
  acknowledged_ = last_;
  for (std::uint64_t sector = range.begin; sector < range.end; ++sector) {
    Sector& state = at(sector);
    state.sure = state.later.back();
    state.later.clear();
    state.may_fail = false;
  }
}

bool RegionHistory::may_fail(SectorRange range) const {
  for (std::uint64_t sector = range.begin; sector < range.end; ++sector) {
    if (may_fail(sector)) return true;
  }
  return false;
}

std::optional<std::string> RegionHistory::judge(std::uint64_t sector, ConstSectorBytes bytes) {
  Sector& state = at(sector);
  const auto seen = read_contents(bytes);
  const SectorName* const named = std::get_if<SectorName>(&seen);
  const bool zeros = std::holds_alternative<AllZeros>(seen);
  const auto matches = [&](const Version& version) {
    return version.zeros ? zeros : named != nullptr && *named == name(sector, version.generation);
  };
  if (matches(state.sure)) {
    state.later.clear();
    return std::nullopt;
  }
  if (const auto found = std::find_if(state.later.begin(), state.later.end(), matches); found != state.later.end()) {
    state.sure = *found;
    state.later.clear();
    return std::nullopt;
  }
  const std::string got = named != nullptr ? fmt::format("generation {} of sector {} of thread {} of volume {:#x}",
                                                         named->generation, named->sector, named->thread, named->volume)
                          : zeros          ? "zeros"
                                           : "damaged bytes";
  return fmt::format("sector {} holds {} instead of {}", sector, got, expectation(state));
}

std::string RegionHistory::expectation(const Sector& state) const {
  const auto describe = [](const Version& version) {
    return fmt::format("{}{}", version.generation, version.zeros ? " (zeros)" : "");
  };
  std::string text = fmt::format("generation {}, {}", describe(state.sure),
                                 state.sure.generation <= flushed_ ? "flushed" : "acknowledged but not flushed");
  for (const Version& version : state.later) text += fmt::format(", or {}, attempted", describe(version));
  return text;
}

}  // namespace remapfs::testing
