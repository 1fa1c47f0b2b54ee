// SPDX-License-Identifier: Apache-2.0
#include "support/private_mounts.hpp"

#include "mounted_disk.hpp"

namespace remapfs::fuse::test {
namespace {

const auto* const kPrivateMounts =
    ::testing::AddGlobalTestEnvironment(new remapfs::testing::PrivateMounts(kPlayground));

}  // namespace
}  // namespace remapfs::fuse::test
