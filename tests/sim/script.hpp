// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace remapfs::sim {

// One thing that happens to a volume, or is done with it. All that is left open is drawn from the seed, so a step means
// the same whatever other steps are left out.
struct Step {
  enum class Kind : std::uint8_t {
    requests,        // of one client or several at a time: reads, writes, flushes, zeroing, verbs
    primary_fault,   // sectors of the primary begin to fail
    primary_healed,  // one such range works again
    spare_fault,     // a range of the spare begins to fail, or works again
    sync_failure,    // the next sync of a device fails
    map_failure,     // a change of the map's files fails
    vanish,          // a device vanishes, comes back, perhaps without what it had not stored; resume
    slow,            // devices are slow, or fast again
    members,         // a spare comes or goes, or another disk takes the primary's place, while there are requests
    remount,         // in order
    cut,             // power fails, or the program is killed, some changes later
  };
  Kind kind = Kind::requests;
  std::uint64_t seed = 0;
};
[[nodiscard]] std::string to_string(const Step& step);

// The steps of a life: `count` of them, and what kind of volume it is.
struct Script {
  std::uint64_t seed = 0;  // of the volume's shape
  std::vector<Step> steps;
};
[[nodiscard]] Script make_script(std::uint64_t seed, std::size_t count);

// Leaves steps out of a script that fails, as long as it goes on failing. Cost: at most `lives` lives.
[[nodiscard]] Script shrink(const Script& script, std::size_t lives);

}  // namespace remapfs::sim
