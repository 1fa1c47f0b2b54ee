// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "cli/run.hpp"
#include "cli/world.hpp"
#include "support/temp_dir.hpp"

namespace remapfs::cli::testing {

// A world whose output is kept, and whose /proc, /sys and runtime directory are the test's own.
struct TestWorld {
  remapfs::testing::TempDir dir;
  std::ostringstream out;
  std::ostringstream err;
  World world{.out = out,
              .err = err,
              .uid = ::geteuid(),
              .xdg_runtime_dir = dir / "run",
              .notify_socket = {},
              .watchdog = {},
              .place = {dir / "run", false},
              .views = {.sys = dir / "sys", .proc = dir / "proc", .dev = "/dev"}};

  // Runs the program and returns its exit code; `out` and `err` hold what this run printed.
  int run(const std::vector<const char*>& args) {
    out.str("");
    err.str("");
    out.clear();
    return cli::run(args, world);
  }

  void set_mountinfo(const std::string& text) {
    std::filesystem::create_directories(dir / "proc/self");
    std::ofstream(dir / "proc/self/mountinfo") << text;
  }
};

}  // namespace remapfs::cli::testing
