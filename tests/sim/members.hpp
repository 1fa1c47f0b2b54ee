// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "sim/circumstances.hpp"

namespace remapfs::sim {

// The operator who gives a volume more spares, takes some away, and lets another disk take the primary's place, while
// clients have requests. Threads: as World.
class Members {
 public:
  explicit Members(Circumstances& now) : now_(now) {}

  // One of these, of which anything may go wrong.
  void change(Random& random);

 private:
  void add_spare(Random& random);
  void retire_spare(Random& random);
  void replace_primary(Random& random);
  void bring_blocks_back(Random& random);
  void take_old_disk_away(testing::FakeDisk& disk, Random& random);
  [[nodiscard]] bool reason_for(const Error& error);

  Circumstances& now_;
};

}  // namespace remapfs::sim
