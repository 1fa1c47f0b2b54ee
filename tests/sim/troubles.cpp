// SPDX-License-Identifier: Apache-2.0
#include "sim/troubles.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace remapfs::sim {

using testing::FaultRule;

namespace {
ByteRange sectors(std::uint64_t first, std::uint64_t end) {
  return {ByteOffset(first * kSectorSize), ByteOffset(end * kSectorSize)};
}
}  // namespace

void Troubles::follow_members() {
  if (plant_.primary != primary_) {
    for (const Fault& fault : faults_) primary_->remove_fault(fault.id);
    faults_.clear();
    primary_ = plant_.primary;
  }
  const bool there = std::any_of(plant_.spares.begin(), plant_.spares.end(),
                                 [this](const auto& spare) { return spare.second.disk == failing_spare_; });
  if (failing_spare_ != nullptr && !there) heal_spare();
}

void Troubles::heal_spare() {
  failing_spare_->remove_fault(spare_fault_);
  failing_spare_ = nullptr;
}

std::string Troubles::fail_primary(Random& random) {
  const std::uint64_t most = plant_.shape.sectors_that_may_fail();
  const std::uint64_t first = random.below(most);
  FaultRule rule;
  rule.range = sectors(first, std::min(first + random.between(1, 10), most));
  rule.on = static_cast<FaultRule::On>(random.below(3));
  // A write that failed and left junk behind, which nobody has seen yet when the end comes, is beyond any volume.
  rule.lasts = static_cast<FaultRule::Lasts>(random.below(rule.on == FaultRule::On::read ? 3 : 2));
  rule.times = random.between(1, 6);
  // A logical block fails as a whole.
  const std::uint64_t unit = plant_.shape.logical_block / kSectorSize;
  const Fault fault{plant_.primary->add_fault(rule), round_down(first, unit),
                    round_up(rule.range.end.value() / kSectorSize, unit), rule.on != FaultRule::On::write};
  faults_.push_back(fault);
  for (std::uint64_t s = fault.first; s < fault.end; ++s) {
    if (fault.of_reads && !plant_.surely_remapped(s)) excuse(s);
  }
  return fmt::format("  sectors {} to {}, on {}, lasts {}", fault.first, fault.end, static_cast<int>(rule.on),
                     static_cast<int>(rule.lasts));
}

void Troubles::heal_primary(Random& random) {
  if (faults_.empty()) return;
  const auto which = faults_.begin() + static_cast<std::ptrdiff_t>(random.below(faults_.size()));
  plant_.primary->remove_fault(which->id);
  faults_.erase(which);
}

void Troubles::toggle_spare(Random& random) {
  if (!plant_.shape.spare_fails) return;
  spare_failed_ = true;
  if (failing_spare_ != nullptr) return heal_spare();
  const SpareOnDisk& spare = plant_.any_spare(random).second;
  const std::uint64_t in_slots = spare.slots * plant_.shape.sectors_per_block();
  const std::uint64_t first = random.below(in_slots);
  const std::uint64_t end = std::min(first + random.between(1, 24), in_slots);
  FaultRule rule;
  rule.range = sectors(spare.first_slot_sector + first, spare.first_slot_sector + end);
  rule.on = static_cast<FaultRule::On>(random.below(3));
  failing_spare_ = spare.disk;
  spare_fault_ = spare.disk->add_fault(rule);
}

void Troubles::end() {
  plant_.clear_faults();
  faults_.clear();
  failing_spare_ = nullptr;
}

void Troubles::returned(BlockIndex block) {
  plant_.shape.for_sectors(block, [this](std::uint64_t s) {
    if (fails_to_read(s)) excuse(s);
  });
}

bool Troubles::fails_to_read(std::uint64_t sector) const {
  return std::any_of(faults_.begin(), faults_.end(),
                     [&](const Fault& fault) { return fault.of_reads && fault.first <= sector && sector < fault.end; });
}

}  // namespace remapfs::sim
