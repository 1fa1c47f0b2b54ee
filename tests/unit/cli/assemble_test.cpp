// SPDX-License-Identifier: Apache-2.0
#include "cli/assemble.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "support/temp_dir.hpp"

namespace remapfs::cli {
namespace {

using namespace std::chrono_literals;

// The kernel takes the whole mount away with a request that is too old for it.
TEST(RequestLimits, StayBelowTheAgeThatTheKernelAllows) {
  const testing::TempDir proc;
  KernelViews views;
  views.proc = proc / "";
  const auto limited = [&] {
    VolumeOptions options;
    limit_to_kernel(options, views);
    return std::pair{options.request_budget, options.block_patience};
  };
  EXPECT_EQ(limited(), std::pair(15000ms, 420000ms)) << "a kernel that knows nothing of it";
  std::filesystem::create_directories(proc / "sys/fs/fuse");
  const auto set = [&](const char* name, const char* text) { std::ofstream((proc / "sys/fs/fuse/") + name) << text; };
  set("default_request_timeout", "0\n");
  set("max_request_timeout", "0\n");
  EXPECT_EQ(limited(), std::pair(15000ms, 420000ms));
  set("max_request_timeout", "120\n");
  EXPECT_EQ(limited(), std::pair(15000ms, 40000ms));
  set("default_request_timeout", "30\n");
  EXPECT_EQ(limited(), std::pair(10000ms, 10000ms));
}

}  // namespace
}  // namespace remapfs::cli
