// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/oracle.hpp"
#include "sim/plant.hpp"

namespace remapfs::sim {

// Which sectors of the devices fail, and of which sectors of the virtual disk the data may therefore be unreadable.
// Threads: as World.
class Troubles {
 public:
  explicit Troubles(Plant& plant) : plant_(plant), primary_(plant.primary), excused_until_(plant.shape.sectors()) {}

  // Members may have come and gone: what fails of those that went is nobody's concern.
  void follow_members();

  // Some sectors of the primary begin to fail; says which, for a trace.
  std::string fail_primary(Random& random);
  // One such range works again.
  void heal_primary(Random& random);
  // Some sectors of slots begin to fail, or those that fail work again.
  void toggle_spare(Random& random);
  // Everything works again.
  void end();

  [[nodiscard]] bool on_primary() const { return !faults_.empty(); }
  [[nodiscard]] bool ever_on_spare() const { return spare_failed_; }

  // The sector may be unreadable; or, from now on, not any more.
  void excuse(std::uint64_t sector) { excused_until_[sector] = kAlways; }
  void excuse_no_more(std::uint64_t sector, Oracle::Moment now) {
    if (excused_until_[sector] == kAlways) excused_until_[sector] = now;
  }
  // The block came back to the primary. A range that fails a few times only may have let the verification pass.
  void returned(BlockIndex block);
  // At any time since. Others may have rewritten it while a request was on its way.
  [[nodiscard]] bool excused(std::uint64_t sector, Oracle::Moment since) const {
    return excused_until_[sector] >= since;
  }
  // A spare that has failed somewhere may have lost whatever was on it.
  [[nodiscard]] bool may_be_unreadable(std::uint64_t sector, Oracle::Moment since) const {
    return excused(sector, since) || (spare_failed_ && plant_.perhaps_remapped(sector));
  }
  // The primary's sector fails to be read, at times at least.
  [[nodiscard]] bool fails_to_read(std::uint64_t sector) const;

 private:
  struct Fault {
    testing::FaultId id;
    std::uint64_t first;
    std::uint64_t end;
    bool of_reads;
  };

  void heal_spare();

  Plant& plant_;
  testing::FakeDisk* primary_;
  std::vector<Fault> faults_;  // of the primary
  static constexpr Oracle::Moment kAlways = ~Oracle::Moment{0};
  std::vector<Oracle::Moment> excused_until_;  // 0: never was
  testing::FakeDisk* failing_spare_ = nullptr;
  testing::FaultId spare_fault_ = 0;
  bool spare_failed_ = false;  // at some time
};

}  // namespace remapfs::sim
