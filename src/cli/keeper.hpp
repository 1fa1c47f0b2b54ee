// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli/daemon.hpp"
#include "cli/daemonize.hpp"
#include "cli/handover.hpp"
#include "cli/served_mount.hpp"
#include "cli/world.hpp"

namespace remapfs::cli {

// Has a child process serve the volume, and keeps the descriptors of the mount: when that process is killed, another
// one goes on with it, and whoever uses the mount sees nothing but a pause. This process does no I/O, and once the
// volume is served it allocates nothing. It gives up when one process after the other ends right away; the connection
// then ends and the mount is taken away where that is possible. Where the kernel cannot send requests again (before
// Linux 6.9) it gives up at the first.
//
// SIGTERM, SIGINT and SIGHUP go to the serving process. With descriptors in `world` that the
// service manager kept, it goes on with that mount. Returns the exit code: the serving process's, or 2 when it gave up.
// Errors: the volume could not be mounted, with a message. Threads: call with none started.
Result<int> keep(const ServiceSpec& spec, const World& world, Readiness& readiness);

// The same for a mount that a process serves already, after the end of whoever kept it before.
Result<int> keep_on(SharedHandover handover, MountDescriptors descriptors, const World& world);

// Serves as another program's successor, over a wire to the process that keeps the mount. Returns the exit code.
int serve_on(SharedHandover handover, MountDescriptors descriptors, UniqueFd wire, const World& world);

}  // namespace remapfs::cli
