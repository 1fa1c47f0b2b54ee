// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <utility>

namespace remapfs::testing {

// Mounts of the tests of this process, with a tmpfs at `directory` (made if missing), are seen by nobody outside and go
// with the last process, even one that crashed. Some systems give /dev/fuse to root only, most to everybody: here it is
// everybody's. Register it with ::testing::AddGlobalTestEnvironment.
class PrivateMounts : public ::testing::Environment {
 public:
  explicit PrivateMounts(std::string directory) : directory_(std::move(directory)) {}
  void SetUp() override;

 private:
  const std::string directory_;
};

}  // namespace remapfs::testing
