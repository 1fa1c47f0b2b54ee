// SPDX-License-Identifier: Apache-2.0
#include "support/private_mounts.hpp"

namespace remapfs::e2e {
namespace {

// Control sockets and default mount points live here.
const auto* const kPrivateMounts =
    ::testing::AddGlobalTestEnvironment(new remapfs::testing::PrivateMounts("/run/remapfs"));

}  // namespace
}  // namespace remapfs::e2e
