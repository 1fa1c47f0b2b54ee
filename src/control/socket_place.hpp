// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "remapfs/error.hpp"

namespace remapfs {

// Directory of the control sockets, and of the mount points `attach` makes, for one user.
//
// root: /run/remapfs. Others: $XDG_RUNTIME_DIR/remapfs, else /run/user/UID/remapfs if /run/user/UID is there, else
// /tmp/remapfs-UID.
struct RuntimePlace {
  std::string directory;
  bool shared = false;  // everybody may look into it (root's, so that its mount points can be reached)
};

// xdg_runtime_dir: value of the variable, empty when unset.
[[nodiscard]] RuntimePlace runtime_place(uid_t uid, std::string_view xdg_runtime_dir);

// Makes the directory if it is not there (mode 0755 when shared, else 0700) and checks that it belongs to the calling
// user and nobody else can write to it. Errors: permission, device_other.
Result<void> prepare_runtime_directory(const RuntimePlace& place);

[[nodiscard]] std::string socket_path(const RuntimePlace& place, std::string_view volume_uuid);

// Where the daemon of a volume may listen, in the order to try: the user's own place, root's, and, for root, those of
// `mount_owner` (the user who made the mount).
[[nodiscard]] std::vector<std::string> socket_candidates(std::string_view volume_uuid, uid_t uid,
                                                         std::string_view xdg_runtime_dir, uid_t mount_owner);

}  // namespace remapfs
