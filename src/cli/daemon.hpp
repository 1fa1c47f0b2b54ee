// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "cli/handover.hpp"
#include "cli/served_mount.hpp"
#include "cli/world.hpp"

namespace remapfs::cli {

// A mount that somebody else made, to go on with.
struct Inheritance {
  MountRecord record;
  MountDescriptors descriptors;
  bool resend = false;    // who served it before may have left requests unanswered
  bool upgraded = false;  // it left the mount to this program, rather than having been killed
};

// What a serving process has of the one that keeps its descriptors.
struct Lifeline {
  SharedHandover& handover;
  int wire = -1;  // for notices; -1: nobody listens
};

// Notices, from the process that serves to the one that keeps.
inline constexpr char kKeepThese = 'k';  // with descriptors, the channel first
inline constexpr char kServing = 's';    // all descriptors were sent, requests are served

// Serves until unmounted, by SIGTERM, SIGINT, the control socket or umount(8), then drains, flushes, closes the map and
// removes the control socket; or until another program is to go on, and leaves the mount to it. A mount in use is never
// taken away: whoever asked is told who uses it. Without an inheritance it makes the mount first.
// Returns the exit code: 0, or 2 when the end was not clean. Errors: it could not be served, with a message. A mount
// that was inherited is left as it is then.
// Threads: call with none started, and for the rest of the process.
Result<int> serve(const ServiceSpec& spec, const World& world, Lifeline lifeline,
                  std::optional<Inheritance> inheritance);

}  // namespace remapfs::cli
